/*
 * Provides the tools that only the tests need, before they run. As root, with apt, it installs them. Otherwise it names all
 * missing tools in one message, with the command that installs them.
 */

import { spawnSync } from "node:child_process";
import { findTool, TOOLS, type Tool } from "../test/helpers/tools.ts";

const APT_OPTIONS = ["-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];

function findMissing(): Tool[] {
  return Object.values(TOOLS).filter((tool) => findTool(tool) === null);
}

function install(tools: Tool[]): void {
  process.stderr.write(`Installing for the tests: ${tools.map((tool) => tool.name).join(", ")}\n`);
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const steps = [["update"], ["install", ...APT_OPTIONS, ...tools.flatMap((tool) => tool.aptPackages)]];
  for (const args of steps) {
    // The output of apt is shown only if it fails.
    const { status, stdout, stderr } = spawnSync("apt-get", args, { env: environment, encoding: "utf8" });
    if (status !== 0) {
      process.stderr.write(`apt-get ${args[0]} failed:\n${stdout ?? ""}${stderr ?? ""}\n`);
      return;
    }
  }
}

function howFound(tool: Tool): string {
  return [`${tool.binaries.join(" or ")} in the PATH`, ...(tool.files ?? [])].join(" and ");
}

const mayInstall = process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0;
if (mayInstall && findMissing().length > 0) {
  install(findMissing());
}
const missing = findMissing();
if (missing.length > 0) {
  const lines = missing.map((tool) => `  ${tool.name} (${howFound(tool)}), for ${tool.neededFor}`);
  process.stderr.write(
    `The tests need tools that are not installed:\n${lines.join("\n")}\n` +
      `On Debian and Ubuntu: sudo apt-get install ${missing.flatMap((tool) => tool.aptPackages).join(" ")}\n`,
  );
  process.exit(1);
}
