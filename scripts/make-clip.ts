/*
 * Makes the demo clip, src/dashboard/public/clip.webm: 24 seconds with a running clock and playhead, and one soft note a
 * second that rises towards the end, so that a person sees and hears the position at any moment. Headless Chromium draws
 * every frame on a canvas, and ffmpeg encodes them. The clip is in the repository; run this only to change it:
 * `npx tsx scripts/make-clip.ts` (needs chromium and ffmpeg, takes about a minute).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const SECONDS = 24;
const FRAMES_PER_SECOND = 20;
const WIDTH = 640;
const HEIGHT = 360;
const OUTPUT = fileURLToPath(new URL("../src/dashboard/public/clip.webm", import.meta.url));

/** A pentatonic scale, one note a second, each dying away before the next. */
const NOTE = "220*pow(2,(floor(t/5)*12+2*mod(floor(t),5)+gt(mod(floor(t),5),2))/24)";
const TONE = `0.07*sin(2*PI*mod(t,1)*${NOTE})*exp(-5*mod(t,1))*min(1,mod(t,1)*80)`;

/** Runs in the page: draws the frame at `second`, and returns it as a PNG in base64. */
function drawFrame({
  second,
  seconds,
  width,
  height,
}: {
  second: number;
  seconds: number;
  width: number;
  height: number;
}) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const ink = canvas.getContext("2d");
  if (!ink) throw new Error("this browser has no canvas");
  const share = second / seconds;
  const hue = 205 + share * 70;

  const sky = ink.createLinearGradient(0, 0, width, height);
  sky.addColorStop(0, `hsl(${hue} 45% 20%)`);
  sky.addColorStop(1, `hsl(${hue + 30} 50% 12%)`);
  ink.fillStyle = sky;
  ink.fillRect(0, 0, width, height);

  const [x, y, radius] = [width / 2, height / 2 - 24, 104];
  ink.lineCap = "round";
  ink.lineWidth = 10;
  ink.strokeStyle = "rgb(255 255 255 / 14%)";
  ink.beginPath();
  ink.arc(x, y, radius, 0, 2 * Math.PI);
  ink.stroke();
  ink.strokeStyle = `hsl(${hue} 85% 70%)`;
  ink.beginPath();
  // Once around in a second, so that a person sees at once whether the media plays.
  ink.arc(x, y, radius, -Math.PI / 2, -Math.PI / 2 + Math.max(0.001, second % 1) * 2 * Math.PI);
  ink.stroke();

  ink.fillStyle = "white";
  ink.textAlign = "center";
  ink.textBaseline = "middle";
  ink.font = "600 76px 'DejaVu Sans', sans-serif";
  ink.fillText(String(Math.floor(second)).padStart(2, "0"), x, y - 6);
  ink.font = "20px 'DejaVu Sans', sans-serif";
  ink.fillStyle = "rgb(255 255 255 / 65%)";
  ink.fillText(`of ${seconds} seconds`, x, y + 48);

  const [left, right, line] = [48, width - 48, height - 52];
  const at = left + (right - left) * share;
  ink.lineWidth = 6;
  ink.strokeStyle = "rgb(255 255 255 / 18%)";
  ink.beginPath();
  ink.moveTo(left, line);
  ink.lineTo(right, line);
  ink.stroke();
  ink.strokeStyle = `hsl(${hue} 85% 70%)`;
  ink.beginPath();
  ink.moveTo(left, line);
  ink.lineTo(at, line);
  ink.stroke();
  ink.fillStyle = "rgb(255 255 255 / 55%)";
  ink.font = "13px 'DejaVu Sans', sans-serif";
  for (let mark = 0; mark <= seconds; mark += 4) {
    ink.fillText(`${mark} s`, left + ((right - left) * mark) / seconds, line + 26);
  }
  ink.fillStyle = "white";
  ink.beginPath();
  ink.moveTo(at, line + 2);
  ink.lineTo(at - 11, line - 20);
  ink.lineTo(at + 11, line - 20);
  ink.closePath();
  ink.fill();
  return canvas.toDataURL("image/png").slice("data:image/png;base64,".length);
}

function startEncoder() {
  const video = ["-f", "image2pipe", "-framerate", `${FRAMES_PER_SECOND}`, "-i", "-"];
  // The sound begins after the picture and ends before it, so that the picture alone decides the length: 24.000 s.
  const audio = ["-itsoffset", "0.05", "-f", "lavfi", "-i", `aevalsrc='${TONE}':s=48000:d=${SECONDS - 0.1}`];
  // A key frame every second, and the index in front, so that a seek is exact and needs one range request.
  const vp9 = ["-c:v", "libvpx-vp9", "-crf", "36", "-b:v", "0", "-g", `${FRAMES_PER_SECOND}`, "-pix_fmt", "yuv420p"];
  const opus = ["-c:a", "libopus", "-b:a", "24k", "-ac", "1"];
  const webm = ["-t", `${SECONDS}`, "-cues_to_front", "1", "-fflags", "+bitexact", "-flags", "+bitexact"];
  const options = ["-y", "-loglevel", "error", ...video, ...audio, ...vp9, ...opus, ...webm, OUTPUT];
  return spawn("ffmpeg", options, { stdio: ["pipe", "inherit", "inherit"] });
}

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage();
const encoder = startEncoder();
for (let frame = 0; frame < SECONDS * FRAMES_PER_SECOND; frame++) {
  const place = { second: frame / FRAMES_PER_SECOND, seconds: SECONDS, width: WIDTH, height: HEIGHT };
  const png = await page.evaluate(drawFrame, place);
  if (!encoder.stdin.write(Buffer.from(png, "base64"))) await once(encoder.stdin, "drain");
}
encoder.stdin.end();
const [code] = await once(encoder, "exit");
await browser.close();
if (code !== 0) throw new Error(`ffmpeg ended with ${code}`);
