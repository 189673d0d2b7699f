declare module "*.css";

/** The part of Swagger UI that the reference page uses; the package brings no types. */
declare module "swagger-ui-dist/swagger-ui-es-bundle.js" {
  export interface SwaggerOptions {
    url: string;
    domNode: HTMLElement;
    docExpansion: "list" | "full" | "none";
    defaultModelsExpandDepth: number;
    deepLinking: boolean;
    syntaxHighlight: { activated: boolean };
    validatorUrl: null;
    supportedSubmitMethods: string[];
    plugins: (() => { components?: Record<string, () => null> })[];
  }
  export default function SwaggerUI(options: SwaggerOptions): unknown;
}
