/** The demo clip, made by scripts/make-clip.ts. */
export const CLIP_URL = "clip.webm";
/** The duration of the clip, and of the demo files in the catalogue. */
export const CLIP_SECONDS = 24;
