import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { ConfigError, loadConfig } from "./config.ts";

function messageOf(environment: Record<string, string>): string {
  try {
    loadConfig(environment);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error("The configuration was accepted");
}

describe("the configuration", () => {
  it("accepts an empty environment: embedded PostgreSQL, demo, this machine only", () => {
    expect(loadConfig({})).toMatchObject({
      PORT: 8080,
      HOST: "127.0.0.1",
      embedded: true,
      demo: true,
      PLAYHEAD_DATA_DIR: resolve(".playhead"),
      ALLOWED_ORIGINS: [],
      SOCKET_TRANSPORTS: ["websocket"],
    });
  });

  it("uses neither the embedded PostgreSQL nor the demo with a DATABASE_URL, unless DEMO asks for the demo", () => {
    const DATABASE_URL = "postgres://user:password@db:5432/playhead";
    expect(loadConfig({ DATABASE_URL })).toMatchObject({ embedded: false, demo: false });
    expect(loadConfig({ DATABASE_URL, DEMO: "true" })).toMatchObject({ embedded: false, demo: true });
    expect(loadConfig({ DEMO: "false" })).toMatchObject({ embedded: true, demo: false });
  });

  it.each([
    [{ DB_PASSWORD: "p@ss/w:rd" }, "postgres://postgres:p%40ss%2Fw%3Ard@db.internal:5432/learningdb"],
    [{ DB_PORT: "6432", DB_USER: "play head" }, "postgres://play%20head@db.internal:6432/learningdb"],
    [{ DB_HOST: "::1" }, "postgres://postgres@[::1]:5432/learningdb"],
    [{ DB_HOST: "/run/postgresql" }, "postgres://postgres@localhost:5432/learningdb?host=%2Frun%2Fpostgresql"],
    [{ DATABASE_URL: "postgres://other/db" }, "postgres://other/db"],
  ])("takes the database from DB_HOST and its companions where DATABASE_URL is not set: %o", (given, url) => {
    const config = loadConfig({ DB_HOST: "db.internal", DB_NAME: "learningdb", ...given });
    expect(config).toMatchObject({ DATABASE_URL: url, embedded: false });
  });

  it("wants the database's host and its name together", () => {
    expect(messageOf({ DB_HOST: "db" })).toMatch(/DB_NAME: is not set, and DB_HOST is/);
    expect(messageOf({ DB_NAME: "learningdb" })).toMatch(/DB_HOST: is not set, and DB_NAME is/);
  });

  it("lists all wrong variables, each with the value it got and the values it takes", () => {
    const message = messageOf({ PORT: "80000", WRITERS: "many", LOG_LEVEL: "loud", DEMO: "maybe" });
    expect(message).toMatch(/PORT: got "80000"; .*65535/);
    expect(message).toMatch(/WRITERS: got "many"; .*number/);
    expect(message).toMatch(/LOG_LEVEL: got "loud"; .*"warn"/);
    expect(message).toMatch(/DEMO: got "maybe"; .*"true"/);
  });

  it("treats an empty or blank variable as not set", () => {
    expect(loadConfig({ PORT: "", DATABASE_URL: "  ", AUTH_SECRET: "" })).toMatchObject({ PORT: 8080, embedded: true });
  });

  it("never shows a secret or a URL that may contain a secret", () => {
    const message = messageOf({ AUTH_SECRET: "hunter2", DATABASE_URL: "mysql://root:hunter2@db/x" });
    expect(message).toContain("AUTH_SECRET: got (not shown)");
    expect(message).toContain("DATABASE_URL: got (not shown)");
    expect(message).not.toContain("hunter2");
  });

  it("reads lists with spaces around their items", () => {
    const config = loadConfig({
      ALLOWED_ORIGINS: " https://a.example , ,https://b.example ",
      SOCKET_TRANSPORTS: "polling",
    });
    expect(config.ALLOWED_ORIGINS).toEqual(["https://a.example", "https://b.example"]);
    expect(config.SOCKET_TRANSPORTS).toEqual(["polling"]);
    expect(messageOf({ SOCKET_TRANSPORTS: "pigeon" })).toContain("SOCKET_TRANSPORTS");
  });

  it("never shows LRS_URL and LRS_AUTH, which may hold a password", () => {
    const message = messageOf({ LRS_URL: "ftp://lrs:hunter2@lrs.example.org", LRS_AUTH: "hunter2" });
    expect(message).toContain("LRS_URL: got (not shown)");
    expect(message).toContain("LRS_AUTH: got (not shown); expected user:password");
    expect(message).not.toContain("hunter2");
  });

  it("refuses an LRS_URL without xAPI, and a sign-in without an LRS_URL", () => {
    expect(messageOf({ XAPI: "false", LRS_URL: "https://lrs.example.org" })).toContain("LRS_URL needs it");
    expect(messageOf({ LRS_AUTH: "a:b" })).toContain("LRS_AUTH: needs LRS_URL");
    expect(messageOf({ LRS_URL: "https://lrs.example.org/?a=1" })).toContain("/statements is appended");
    expect(messageOf({ LRS_URL: "https://a:50%@lrs.example.org/" })).toContain("written as %25");
  });

  it("never shows NGINX_CONTROL_URLS, whose URLs may contain a password", () => {
    const message = messageOf({ NGINX_CONTROL_URLS: "http://admin:hunter2@nginx/control" });
    expect(message).toContain("NGINX_CONTROL_URLS: got (not shown)");
    expect(message).not.toContain("hunter2");
  });

  it.each([
    ["https://app.example.org/", "https://app.example.org"],
    ["HTTPS://App.Example.ORG", "https://app.example.org"],
    ["https://app.example.org:443", "https://app.example.org"],
    ["http://app.example.org:80/", "http://app.example.org"],
    ["http://localhost:5173", "http://localhost:5173"],
    ["https://bücher.example", "https://xn--bcher-kva.example"],
    ["http://[::1]:3000", "http://[::1]:3000"],
    ["*", "*"],
  ])("reads the allowed origin %s as browsers write it", (given, origin) => {
    expect(loadConfig({ ALLOWED_ORIGINS: given }).ALLOWED_ORIGINS).toEqual([origin]);
  });

  it.each([
    "app.example.org",
    "https://*.example.org",
    "https://a.example https://b.example",
    "https://app.example.org/path",
    "https://user@app.example.org",
    "https://app.example.org?x",
    "https://",
    "ftp://app.example.org",
    "null",
    "https://app.example.org:99999",
  ])("refuses %s as an allowed origin, and names it", (origin) => {
    expect(messageOf({ ALLOWED_ORIGINS: `https://fine.example, ${origin}` })).toContain(
      `ALLOWED_ORIGINS: got ${JSON.stringify(`https://fine.example, ${origin}`)}; ${JSON.stringify(origin)} is no origin`,
    );
  });

  it.each([
    ["/progress", "/progress"],
    ["/progress/", "/progress"],
    ["progress", "/progress"],
    ["progress/", "/progress"],
    ["/learn/progress", "/learn/progress"],
    ["/Apps/play-head_2.0~x", "/Apps/play-head_2.0~x"],
    ["/v1x", "/v1x"],
    ["/", ""],
    ["", ""],
  ])("reads the public path %s as %s", (given, path) => {
    expect(loadConfig({ PUBLIC_PATH: given }).PUBLIC_PATH).toBe(path);
  });

  it.each([
    ...["https://host/progress", "//progress", "/progress//", "//", "/a//b", "/..", "/a/../b", "/./a", "/a/."],
    ...["/progress?x=1", "/progress#x", "/pro gress", "/fortschritt-ü", "/%70rogress", "/a:b", "/*", "/a\\b"],
  ])("refuses %s as the public path, and says what was expected", (path) => {
    expect(messageOf({ PUBLIC_PATH: path })).toBe(
      `The configuration is wrong:\n  PUBLIC_PATH: got ${JSON.stringify(path)}; expected a path such as /progress: letters, digits and - . _ ~ between single slashes, no part . or .., and no scheme, host or query`,
    );
  });

  it.each([
    ["/v1", "/v1"],
    ["v1/progress/", "/v1"],
    ["/watch", "/watch"],
    ["/socket.io", "/socket.io"],
    ["/learn", "/learn/api"],
    ["/learn/api/progress", "/learn/api"],
  ])("refuses %s as the public path, because the server answers at %s itself", (path, own) => {
    expect(messageOf({ PUBLIC_PATH: path })).toContain(
      `PUBLIC_PATH: got ${JSON.stringify(path)}; expected a path apart from the server's own addresses, such as /progress; ${own} is one`,
    );
  });

  it("ignores variables that are not Playhead's", () => {
    expect(loadConfig({ PATH: "/bin", HOME: "/root" })).not.toHaveProperty("PATH");
  });

  it("refuses a configuration with which nobody could sign in", () => {
    const message = messageOf({ BUILTIN_ACCOUNTS: "false" });
    expect(message).toMatch(/BUILTIN_ACCOUNTS: got "false"; .*FIREBASE_PROJECT_ID/);
    expect(loadConfig({ BUILTIN_ACCOUNTS: "false", FIREBASE_PROJECT_ID: "my-app" })).toBeTruthy();
    // A backend signs the tokens.
    expect(loadConfig({ BUILTIN_ACCOUNTS: "false", AUTH_SECRET: "x".repeat(32) })).toBeTruthy();
  });

  it("refuses the Firebase emulator, whose tokens are unsigned, together with a Firebase project", () => {
    const emulator = { FIREBASE_AUTH_EMULATOR_HOST: "127.0.0.1:9099" };
    expect(messageOf({ ...emulator, FIREBASE_PROJECT_ID: "my-app" })).toMatch(
      /FIREBASE_AUTH_EMULATOR_HOST: got "127.0.0.1:9099"; .*FIREBASE_PROJECT_ID/,
    );
    expect(loadConfig(emulator)).toBeTruthy();
    expect(messageOf({ FIREBASE_PROJECT_ID: "My App" })).toContain("FIREBASE_PROJECT_ID");
  });
});
