// Loaded before the executor, it kills the program, as kill -9 does, right after
// the DIE_AT-th time that a file or folder was changed.
import fs from "node:fs/promises";

let left = Number(process.env.DIE_AT);
for (const name of ["mkdir", "writeFile", "copyFile", "link", "rename", "rm", "rmdir"]) {
  const change = fs[name];
  fs[name] = async (...args) => {
    const result = await change(...args);
    if (--left === 0) process.kill(process.pid, "SIGKILL");
    return result;
  };
}
