#!/usr/bin/env node
// berth-site is an executor of Berth that publishes a static site for each
// environment: a folder of the application's repository, or a single page.
import {serve} from "./plugin.mjs";
import {site} from "./site.mjs";

await serve(site);
