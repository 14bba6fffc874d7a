// The executor itself: a static site for each environment, in a folder that a web
// server serves, under a mark that says whose it is.
import fs from "node:fs/promises";
import path from "node:path";
import {setTimeout as pause} from "node:timers/promises";
import {timestampFromDate} from "@bufbuild/protobuf/wkt";
import {Change, Health, Verb} from "./gen/berth/executor/v1/executor_pb.js";
import {copy, digestOf, measure} from "./files.mjs";
import {downstream, Failed, invalid} from "./service.mjs";

const text = (description) => ({type: "string", minLength: 1, description});

const about = {
  name: "site",
  version: "1.0.0",
  verbs: [Verb.DEPLOY, Verb.CLEANUP],
  plans: true,
  observes: true,
  inventories: true,
  schema: {
    type: "object",
    additionalProperties: false,
    oneOf: [{required: ["folder"]}, {required: ["page"]}],
    properties: {
      folder: text("The site's files: repo:PATH is a folder of the application's repository."),
      page: text("The whole of the site, if it is a single page."),
      wait: {type: "boolean", description: "Wait until the web server answers for the site."},
    },
  },
  settingsSchema: {
    type: "object",
    additionalProperties: false,
    required: ["root"],
    properties: {
      root: text("The folder that the web server serves."),
      url: {...text("Where it serves that."), pattern: "^https?://"},
    },
  },
};

// name is one that is safe in a path.
const name = /^[a-z0-9][a-z0-9-]*$/;

// placeOf is where the parts of a step's site are.
function placeOf(step) {
  const {root, url} = step.settings ?? {};
  if (!root) throw invalid("The site executor needs `root` in its settings: write it to Berth's config, under `plugins.site.settings`.");
  const words = [step.app, step.environment, step.part];
  if (!words.every((w) => name.test(w))) throw invalid(`The names ${words.join(", ")} cannot be a folder's: they need to be of a-z, 0-9 and "-".`);
  const own = path.join(root, ".berth");
  return {
    site: path.join(root, ...words),
    url: url && [url.replace(/\/+$/, ""), ...words, ""].join("/"),
    mark: path.join(own, `${words.join(".")}.json`),
    fresh: path.join(own, `${words.join(".")}.new`),
    old: path.join(own, `${words.join(".")}.old`),
    own,
  };
}

const ownerOf = (step) => ({app: step.app, environment: step.environment, part: step.part, installation: step.installation});
const owns = (mark, step) => mark && Object.entries(ownerOf(step)).every(([key, value]) => mark[key] === value);

// readMark is undefined where there is none.
async function readMark(file) {
  try {
    return JSON.parse(await fs.readFile(file, "utf8"));
  } catch (err) {
    if (err.code === "ENOENT") return undefined;
    throw err;
  }
}

// writeMark replaces the mark as a whole, or leaves it as it was.
async function writeMark(place, mark) {
  await fs.writeFile(`${place.mark}.tmp`, JSON.stringify(mark));
  await fs.rename(`${place.mark}.tmp`, place.mark);
}

// sourceOf is what a step wants to have published.
async function sourceOf(step, signal) {
  const {folder, page} = step.with ?? {};
  if (typeof page === "string" && page && folder === undefined) return {page, digest: await digestOf({page}, signal)};
  if (typeof folder !== "string" || !folder || page !== undefined) throw invalid("A site needs either `folder`, its files, or `page`, the whole of it.");
  try {
    return {folder, digest: await digestOf({folder}, signal)};
  } catch (err) {
    if (err.code === "ENOENT" || err.code === "ENOTDIR") throw invalid("The site's `folder` is not there, or is no folder. Look for the path in the repository.");
    throw err;
  }
}

// outside turns what the file system fails with into a failure with a fault.
async function outside(work) {
  try {
    return await work();
  } catch (err) {
    if (err instanceof Failed || err.name === "AbortError" || !err.code || !err.syscall) throw err;
    throw downstream("The folder of the sites cannot be worked on. Look whether the disk is full, and whose it is.", err);
  }
}

async function plan({step, brief}, signal) {
  return outside(async () => {
    const place = placeOf(step);
    const mark = await readMark(place.mark);
    if (step.verb === Verb.CLEANUP) {
      if (!owns(mark, step)) return {summary: "there is no site to remove"};
      return {
        summary: `remove the site ${step.app}/${step.environment}/${step.part}`,
        destructive: true,
        resources: [{kind: "Site", name: place.site, change: Change.DELETE, destructive: true}],
      };
    }
    const source = await sourceOf(step, signal);
    const inputs = {content: `sha256:${source.digest}`};
    if (brief) return {inputs, summary: "publish the site"};
    if (owns(mark, step) && mark.digest === source.digest) return {inputs, summary: "the site is published as it is to be"};
    const {files, bytes} = await measure(source, signal);
    return {
      inputs,
      summary: `publish ${files} files (${bytes} bytes) as ${place.url ?? place.site}`,
      resources: [{kind: "Site", name: place.site, change: mark ? Change.UPDATE : Change.CREATE}],
    };
  });
}

// run tells what happens as it does it. Whatever it is interrupted in, the same
// step can be run again.
async function run({step, agreed}, signal, tell) {
  await outside(async () => {
    const place = placeOf(step);
    if (step.verb === Verb.CLEANUP) {
      await cleanup(place, step, tell);
      return;
    }
    const source = await sourceOf(step, signal);
    if (agreed.content && agreed.content !== `sha256:${source.digest}`) {
      throw invalid("The site's files are not those that were agreed on. Ask for the deploy again.");
    }
    tell({case: "progress", value: {text: "publishing the site"}});
    await publish(place, step, source, signal);
    tell({case: "output", value: {key: "folder", value: place.site}});
    if (!place.url) return;
    tell({case: "output", value: {key: "url", value: place.url}});
    if (step.with.wait) await answered(place.url, signal, tell);
  });
}

// publish puts the files there, all at once: nobody is served half a site.
async function publish(place, step, source, signal) {
  await fs.mkdir(place.own, {recursive: true});
  await claim(place, step);
  const mark = await readMark(place.mark);
  const there = await digestOf({folder: place.site}, signal).catch((err) => {
    if (err.code === "ENOENT") return undefined;
    throw err;
  });
  if (mark.digest !== source.digest || there !== source.digest) {
    await fs.rm(place.fresh, {recursive: true, force: true});
    await copy(source, place.fresh, signal);
    await fs.mkdir(path.dirname(place.site), {recursive: true});
    await fs.rm(place.old, {recursive: true, force: true});
    if (there !== undefined) await fs.rename(place.site, place.old);
    await fs.rename(place.fresh, place.site);
    await writeMark(place, {...mark, digest: source.digest});
  }
  await fs.rm(place.old, {recursive: true, force: true});
}

// claim puts the mark there before anything else, or refuses: what is not marked
// as this environment's is never touched.
async function claim(place, step) {
  const mark = await readMark(place.mark);
  if (!mark && await exists(place.site)) {
    throw invalid(`The folder ${place.site} is there, and Berth did not make it. Move it away, or rename the part.`);
  }
  if (!mark) {
    // Whole or not at all, and never over somebody else's.
    await fs.writeFile(`${place.mark}.tmp`, JSON.stringify({...ownerOf(step), createdAt: new Date()}));
    await fs.link(`${place.mark}.tmp`, place.mark).catch((err) => {
      if (err.code !== "EEXIST") throw err;
    });
    await fs.rm(`${place.mark}.tmp`, {force: true});
  }
  if (!owns(mark ?? await readMark(place.mark), step)) {
    throw invalid(`The folder ${place.site} belongs to another installation of Berth. Rename the app or the part in one of the two.`);
  }
}

// answered waits until the web server answers for the site.
async function answered(url, signal, tell) {
  for (;;) {
    const response = await fetch(url, {signal, redirect: "manual"}).catch((err) => {
      if (signal.aborted) throw err;
      return undefined;
    });
    await response?.body?.cancel();
    if (response?.ok) return;
    tell({case: "progress", value: {text: `waiting for ${url}: ${response ? `it answers ${response.status}` : "nobody answers"}`}});
    await pause(500, undefined, {signal});
  }
}

// cleanup takes the mark away last: what is left of one that was cut off is found.
async function cleanup(place, step, tell) {
  if (!owns(await readMark(place.mark), step)) {
    tell({case: "log", value: {line: "There is nothing of this environment."}});
    return;
  }
  const there = await exists(place.site);
  for (const folder of [place.site, place.fresh, place.old]) await fs.rm(folder, {recursive: true, force: true});
  // The folders of the app and of the environment go with their last part.
  for (const above of [path.dirname(place.site), path.dirname(path.dirname(place.site))]) await fs.rmdir(above).catch(() => {});
  await fs.rm(`${place.mark}.tmp`, {force: true});
  await fs.rm(place.mark, {force: true});
  if (there) tell({case: "receipt", value: {kind: "Site", name: place.site, change: Change.DELETE, destructive: true}});
}

// exists tells whether something is there; what cannot be seen is an error.
async function exists(file) {
  try {
    await fs.lstat(file);
    return true;
  } catch (err) {
    if (err.code === "ENOENT") return false;
    throw err;
  }
}

async function observe({step}, signal) {
  return outside(async () => {
    const place = placeOf(step);
    const mark = await readMark(place.mark);
    if (!owns(mark, step)) return {health: Health.ABSENT};
    let digest, size;
    try {
      digest = await digestOf({folder: place.site}, signal);
      size = await measure({folder: place.site}, signal);
    } catch (err) {
      if (err.code !== "ENOENT") throw err;
      return {health: Health.UNHEALTHY, text: `the folder ${place.site} is gone; deploy makes it again`};
    }
    return {
      health: Health.HEALTHY,
      links: place.url ? [{name: "site", url: place.url}] : [],
      drift: digest === mark.digest ? [] : [`files in ${place.site} were changed by hand`],
      facts: [{name: "files", text: `${size.files} (${size.bytes} bytes)`}],
    };
  });
}

async function inventory({installation, settings}) {
  return outside(async () => {
    if (!settings?.root) throw invalid("The site executor needs `root` in its settings.");
    const own = path.join(settings.root, ".berth");
    const owned = [];
    const names = await fs.readdir(own).catch((err) => {
      if (err.code === "ENOENT") return [];
      throw err; // failing to see is not seeing nothing
    });
    for (const file of names.filter((n) => n.endsWith(".json"))) {
      const mark = await readMark(path.join(own, file));
      if (mark?.installation !== installation) continue;
      const {app, environment, part} = mark;
      owned.push({app, environment, part, kind: "Site", name: [app, environment, part].join("/"), createdAt: timestampFromDate(new Date(mark.createdAt))});
    }
    return owned;
  });
}

export const site = {about, plan, run, observe, inventory};
