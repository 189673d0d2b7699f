import "swagger-ui-dist/swagger-ui.css";
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
// After the library's own sheet, which it corrects.
import "./docs.css";

/*
 * `/docs`: /openapi.json as a page to read, drawn by Swagger UI. All addresses are relative, so it works below a path too.
 */

const dark = matchMedia("(prefers-color-scheme: dark)");
const showScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
showScheme();
dark.addEventListener("change", showScheme);

const nothing = () => null;

const reference = document.getElementById("reference") as HTMLElement;
new MutationObserver(() => nameParts(reference)).observe(reference, { childList: true, subtree: true });

/** Gives names to the parts that Swagger UI leaves without: a screen reader could not tell them apart. */
function nameParts(root: HTMLElement): void {
  for (const table of root.querySelectorAll("table.responses-table[role]")) table.removeAttribute("role");
  for (const field of root.querySelectorAll("select:not([aria-label]), textarea:not([aria-label])")) {
    const row = field.closest("tr, .opblock-section, .opblock-body");
    field.setAttribute("aria-label", row?.getAttribute("data-param-name") ?? "Value");
  }
}

SwaggerUI({
  url: new URL("openapi.json", document.baseURI).href,
  domNode: reference,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // With it, the button of each operation would hold a link.
  deepLinking: false,
  // Its colours are too faint on their ground.
  syntaxHighlight: { activated: false },
  // By default it would send the document to a validator on the internet.
  validatorUrl: null,
  supportedSubmitMethods: ["get", "post", "put", "patch", "delete"],
  // The page has a head of its own, and one server: that which it came from.
  plugins: [() => ({ components: { InfoContainer: nothing, ServersContainer: nothing } })],
});
