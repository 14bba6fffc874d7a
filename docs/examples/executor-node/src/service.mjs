// The protocol of plugins/proto around an executor: verbs that are checked, steps
// that are stopped, runs of one part that never overlap, failures with a fault.
import {Code, ConnectError} from "@connectrpc/connect";
import {FailureSchema, Fault, Verb} from "./gen/berth/executor/v1/executor_pb.js";

// Failed is a failure that people are shown: what is wrong, and what to do.
export class Failed extends Error {
  constructor(fault, message, {retry = false, cause} = {}) {
    super(message, {cause});
    this.fault = fault;
    this.retry = retry;
  }
}

// invalid says that the user's input is wrong.
export const invalid = (message) => new Failed(Fault.INVALID, message);

// downstream says that what the executor works on refused or failed.
export const downstream = (message, cause) => new Failed(Fault.DOWNSTREAM, message, {retry: true, cause});

const codes = {[Fault.INVALID]: Code.InvalidArgument, [Fault.DOWNSTREAM]: Code.FailedPrecondition, [Fault.INTERNAL]: Code.Internal};

// statusOf is err as the protocol wants it: a gRPC status with one Failure.
function statusOf(err, signal) {
  if (signal?.aborted) return new ConnectError("the call was stopped", Code.Canceled);
  if (err instanceof ConnectError) return err;
  let failed = err;
  if (!(err instanceof Failed)) {
    console.error(err); // a bug, whose stack belongs into the log
    failed = new Failed(Fault.INTERNAL, "The executor hit a bug and gave up on this step; Berth's log has the details.", {cause: err});
  }
  const value = {fault: failed.fault, message: failed.message, retry: failed.retry, cause: failed.cause ? String(failed.cause.message ?? failed.cause) : ""};
  return new ConnectError(failed.message, codes[failed.fault], undefined, [{desc: FailureSchema, value}]);
}

// service is the executor as a gRPC service, and drain, which ends it.
export function service(executor) {
  const verbs = executor.about.verbs;
  const stops = new Map(); // by id of the step: what stops its runs
  const parts = new Map(); // by part: when its last run ends
  const over = new AbortController();
  const open = new Set(); // the calls

  const known = (step) => {
    if (!step || !verbs.includes(step.verb)) {
      throw invalid(`The executor ${executor.about.name} cannot ${Verb[step?.verb]?.toLowerCase() ?? "do what was asked"}.`);
    }
    return step;
  };
  // answer is a call that can be stopped and waited for.
  const answer = (call) => async (request, context) => {
    const signal = AbortSignal.any([context.signal, over.signal]);
    const done = resolvers();
    open.add(done.promise);
    try {
      return await call(request, signal);
    } catch (err) {
      throw statusOf(err, signal);
    } finally {
      open.delete(done.promise);
      done.resolve();
    }
  };

  // work does a step, and tells in the end whether it is done or why not. It goes
  // on to its end even when nobody listens any more.
  async function work(request, signal, tell) {
    let release = () => {};
    try {
      const step = known(request.step);
      release = await claim(parts, `${step.app}/${step.environment}/${step.part}`, signal);
      await executor.run(request, signal, (event) => tell({event}));
      signal.throwIfAborted(); // one that was stopped half-way is not done
      tell({event: {case: "done", value: {}}});
    } finally {
      release();
    }
  }

  async function* run(request, context) {
    const stop = new AbortController();
    const abort = () => stop.abort();
    context.signal.addEventListener("abort", abort);
    over.signal.addEventListener("abort", abort);
    if (context.signal.aborted || over.signal.aborted) abort();
    const id = request.step?.id;
    stops.set(id, (stops.get(id) ?? new Set()).add(stop));
    const said = [];
    let wake = () => {};
    let ended = false;
    const done = work(request, stop.signal, (event) => {
      said.push(event);
      wake();
    }).finally(() => {
      ended = true;
      wake();
      over.signal.removeEventListener("abort", abort);
      stops.get(id)?.delete(stop);
      if (!stops.get(id)?.size) stops.delete(id);
      open.delete(done);
    });
    open.add(done);
    done.catch(() => {}); // it is told below, if anybody still listens
    while (!ended || said.length) {
      while (said.length) yield said.shift();
      if (!ended) await new Promise((resolve) => (wake = resolve));
    }
    await done.catch((err) => {
      throw statusOf(err, stop.signal);
    });
  }

  const implementation = {
    describe: () => executor.about,
    plan: answer((request, signal) => {
      known(request.step);
      return executor.plan(request, signal);
    }),
    observe: answer((request, signal) => executor.observe(request, signal)),
    inventory: answer(async (request, signal) => ({owned: await executor.inventory(request, signal)})),
    run,
    cancel(request) {
      const found = stops.get(request.stepId) ?? new Set();
      for (const stop of found) stop.abort();
      return {found: found.size > 0};
    },
  };
  return {
    implementation,
    // drain stops the calls and waits for them, up to limit in ms.
    async drain(limit) {
      over.abort();
      const late = new Promise((resolve) => setTimeout(resolve, limit).unref());
      await Promise.race([Promise.all(open), late]);
    },
  };
}

// claim waits for the earlier runs of a part: a host that cancels one learns that
// the call is over before the work has stopped.
async function claim(parts, key, signal) {
  const earlier = parts.get(key) ?? Promise.resolve();
  const {promise, resolve} = resolvers();
  const mine = earlier.then(() => promise);
  parts.set(key, mine);
  // Not when this one is released: who gives up waiting must not have the next one
  // overtake those before it.
  mine.then(() => parts.get(key) === mine && parts.delete(key));
  const release = resolve;
  try {
    await Promise.race([earlier, stopped(signal)]);
    signal.throwIfAborted();
  } catch (err) {
    release();
    throw err;
  }
  return release;
}

// stopped fails when signal is aborted.
function stopped(signal) {
  return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
}

function resolvers() {
  let resolve;
  const promise = new Promise((r) => (resolve = r));
  return {promise, resolve};
}
