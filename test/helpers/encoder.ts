import { type ChildProcess, spawn } from "node:child_process";
import { requireTool, TOOLS } from "./tools.ts";
import { waitFor } from "./wait-for.ts";

/** How an encoder ended. */
export interface EncoderEnd {
  /** Its exit code; null where a signal ended it. */
  code: number | null;
  signal: NodeJS.Signals | null;
  /** How long it ran. */
  afterMs: number;
  /** Media sent, in milliseconds. */
  sentMs: number;
  stderr: string;
}

/** A real encoder: FFmpeg that sends a test picture and a tone, in real time, until it is ended. */
export interface Encoder {
  pid: number;
  exited: Promise<EncoderEnd>;
  running(): boolean;
  /** Media sent so far, in milliseconds. */
  sentMs(): number;
  /** Waits until it has sent so much more than now: it goes on. @throws Error where it ends before */
  sendsOn(mediaMs?: number): Promise<void>;
  /** Sends a signal, SIGKILL by default; resolves when the encoder is gone. */
  kill(signal?: NodeJS.Signals): Promise<EncoderEnd>;
}

const INPUT = "-re -f lavfi -i testsrc=size=160x90:rate=10 -re -f lavfi -i sine=frequency=440:sample_rate=22050".split(
  " ",
);
const OUTPUT =
  "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -b:v 100k -c:a aac -b:a 32k -f flv".split(
    " ",
  );

/** Encoders that the test process has to take with it when it ends before them. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts to publish at an `rtmp:` address. */
export function startEncoder(url: string): Encoder {
  const startedAt = performance.now();
  const options = ["-nostdin", "-hide_banner", "-loglevel", "warning", "-stats_period", "0.2", "-progress", "pipe:1"];
  const child: ChildProcess = spawn(requireTool(TOOLS.ffmpeg), [...options, ...INPUT, ...OUTPUT, url], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let sentMs = 0;
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    for (const [, micros] of text.matchAll(/^out_time_us=(\d+)$/gm)) sentMs = Number(micros) / 1000;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  running.add(child);
  const exited = new Promise<EncoderEnd>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      running.delete(child);
      resolve({ code, signal, afterMs: performance.now() - startedAt, sentMs, stderr });
    });
  });
  exited.catch(() => undefined); // no unhandled rejection when nobody waits for it
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  return {
    pid: child.pid as number,
    exited,
    running: isRunning,
    sentMs: () => sentMs,
    async sendsOn(mediaMs = 1000) {
      const goal = sentMs + mediaMs;
      await waitFor(() => sentMs >= goal || !isRunning(), { what: `${mediaMs} ms more of media`, timeoutMs: 30_000 });
      if (sentMs < goal) throw new Error(`the encoder ended with ${child.exitCode ?? child.signalCode}: ${stderr}`);
    },
    kill(signal = "SIGKILL") {
      child.kill(signal);
      return exited;
    },
  };
}
