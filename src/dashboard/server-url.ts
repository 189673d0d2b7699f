/**
 * The server: the folder in which the pages stand, perhaps behind a path. Everything in the pages is named relative to it.
 */
export const SERVER_URL = new URL("./", document.baseURI).href;
