/** The demo clip that the project makes itself: see scripts/make-clip.ts. */
export const CLIP_URL = "/clip.webm";
/** As the file's header says; the catalogue's duration of the demo files. */
export const CLIP_SECONDS = 24;
