// What every executor in Node needs, whatever it does: go-plugin's handshake,
// mutual TLS, the services beside the executor's own, and an end with the host.
// plugins/proto/README.md says step by step what a program has to do.
import fs from "node:fs/promises";
import http2 from "node:http2";
import os from "node:os";
import path from "node:path";
import {connectNodeAdapter} from "@connectrpc/connect-node";
import {certificate} from "./certificate.mjs";
import {service} from "./service.mjs";
import {ExecutorService} from "./gen/berth/executor/v1/executor_pb.js";
import {Health, HealthCheckResponse_ServingStatus} from "./gen/health/health_pb.js";
import {GRPCController} from "./gen/plugin/controller_pb.js";

// Sources: plugins/sdk/serve.go.
const cookie = {name: "BERTH_EXECUTOR", value: "5b0fd1b3a6ef4d1c9c7f0e4a2d86f7b1"};
const drainTime = 3000; // ms that calls have to end in, once the program is to
const parentInterval = 1000; // ms
const maxReceive = 16 << 20; // bytes of a message

// serve serves the executor until the host says that it is over, or is gone.
export async function serve(executor) {
  if (process.env[cookie.name] !== cookie.value) {
    const {name, version} = executor.about;
    console.error(`This is ${name} ${version}, an executor of Berth. Berth starts it when an app's part says \`use: ${name}\`; there is nothing to start by hand.`);
    process.exit(2);
  }
  // Standard output is the host's for one line. What else is printed goes to
  // standard error, which is Berth's log.
  console.log = console.info = console.debug = console.error;

  const calls = service(executor);
  let ending = false;
  let close = async () => {};
  const stop = async () => {
    if (ending) return;
    ending = true;
    await calls.drain(drainTime);
    await close();
    process.exit(0);
  };
  watchHost(stop);
  close = await listen(calls, stop);
}

// listen serves on a Unix socket and tells the host where. The result is what ends
// that; stop is for when the host says so.
async function listen(calls, stop) {
  const handler = connectNodeAdapter({
    grpc: true, grpcWeb: false, connect: false,
    readMaxBytes: maxReceive,
    routes(router) {
      router.service(ExecutorService, calls.implementation);
      router.service(Health, {
        check: () => ({status: HealthCheckResponse_ServingStatus.SERVING}),
      });
      router.service(GRPCController, {
        shutdown() {
          setImmediate(stop); // once this is answered
          return {};
        },
      });
    },
  });

  const hostCertificate = process.env.PLUGIN_CLIENT_CERT;
  const own = hostCertificate ? await certificate() : undefined;
  const server = own
    // Only the host that started this program has the key to its certificate.
    ? http2.createSecureServer({key: own.key, cert: own.pem, ca: [hostCertificate], requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.2"}, handler)
    : http2.createServer(handler);
  server.on("sessionError", (err) => console.error(`connection: ${err.message}`));

  // The folder is the host's, which alone may look into it.
  const dir = await fs.mkdtemp(path.join(process.env.PLUGIN_UNIX_SOCKET_DIR || os.tmpdir(), "plugin"));
  const address = path.join(dir, "s");
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(address, resolve);
  });

  // core protocol | app protocol | network | address | protocol | certificate
  const hello = ["1", "1", "unix", address, "grpc", own?.base64 ?? ""].join("|");
  process.stdout.write(hello + "\n");
  return async () => {
    server.close();
    await fs.rm(dir, {recursive: true, force: true});
  };
}

// watchHost calls stop when the program is to end. A host that is killed closes
// the lifeline at once; the process ids are looked at as well, because a wrapper
// between host and program may hold a copy of the pipe.
function watchHost(stop) {
  process.on("SIGTERM", stop);
  process.on("SIGINT", () => {}); // a terminal's is the host's matter
  if (process.env.BERTH_LIFELINE === "stdin") {
    process.stdin.on("end", stop).on("error", stop).resume();
  }
  const host = Number(process.env.BERTH_PARENT_PID);
  if (host > 0) {
    const parent = process.ppid;
    setInterval(() => {
      if (process.ppid !== parent || !alive(host)) stop();
    }, parentInterval).unref();
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return err.code !== "ESRCH";
  }
}
