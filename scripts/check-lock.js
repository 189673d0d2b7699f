/*
 * Checks that an install kept to the committed lock file: every package has the same version and the same content. An
 * install may add only binaries for other systems, which the committed file lacks if the registry did not offer them. It is
 * plain JavaScript because it runs before anything is built. Usage: check-lock.js <committed> <after the install>
 */

import { readFileSync } from "node:fs";

const [committed, installed] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")).packages);
const problems = [];

for (const [path, { version, integrity }] of Object.entries(committed)) {
  const now = installed[path];
  if (now === undefined) problems.push(`${path} is missing`);
  else if (now.version !== version || now.integrity !== integrity) {
    problems.push(`${path} is ${now.version} (${now.integrity}), not ${version} (${integrity})`);
  }
}
for (const [path, { version, optional, os }] of Object.entries(installed)) {
  const isForOneSystem = optional === true && Array.isArray(os);
  if (!(path in committed) && !isForOneSystem) problems.push(`${path} ${version} is not in the lock file`);
}
if (problems.length > 0) {
  process.stderr.write(`The install did not keep to the lock file:\n${problems.map((line) => `  ${line}\n`).join("")}`);
  process.exit(1);
}
