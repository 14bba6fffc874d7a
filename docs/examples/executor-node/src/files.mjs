// A site's files: what they are, how many, and a copy of them.
import {createHash} from "node:crypto";
import {createReadStream} from "node:fs";
import fs from "node:fs/promises";
import path from "node:path";
import {pipeline} from "node:stream/promises";
import {invalid} from "./service.mjs";

// filesOf are the paths of all files in a folder, in order. A link is refused: in
// a repository it can name any file of the machine that publishes.
async function filesOf(folder, signal) {
  const all = [];
  for (const entry of await fs.readdir(folder, {withFileTypes: true, recursive: true})) {
    signal.throwIfAborted();
    const file = path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name));
    if (entry.isFile()) all.push(file);
    else if (!entry.isDirectory()) throw invalid(`The site's ${file} is neither a file nor a folder, and only those are published.`);
  }
  return all.sort();
}

// digestOf is the SHA-256, in hex, of a site: its files' names and contents.
export async function digestOf({page, folder}, signal) {
  const hash = createHash("sha256");
  const add = (file, content) => hash.update(`${JSON.stringify(file)} ${content}\n`);
  if (page !== undefined) {
    return add("index.html", createHash("sha256").update(page).digest("hex")).digest("hex");
  }
  for (const file of await filesOf(folder, signal)) {
    const content = createHash("sha256");
    await pipeline(createReadStream(path.join(folder, file)), content, {signal});
    add(file, content.digest("hex"));
  }
  return hash.digest("hex");
}

// copy makes a folder of a site.
export async function copy({page, folder}, to, signal) {
  await fs.mkdir(to, {recursive: true});
  if (page !== undefined) {
    await fs.writeFile(path.join(to, "index.html"), page, {signal});
    return;
  }
  for (const file of await filesOf(folder, signal)) {
    await fs.mkdir(path.dirname(path.join(to, file)), {recursive: true});
    await fs.copyFile(path.join(folder, file), path.join(to, file));
  }
}

// measure is how many files a site has, and their bytes.
export async function measure({page, folder}, signal) {
  if (page !== undefined) return {files: 1, bytes: Buffer.byteLength(page)};
  const files = await filesOf(folder, signal);
  let bytes = 0;
  for (const file of files) bytes += (await fs.stat(path.join(folder, file))).size;
  return {files: files.length, bytes};
}
