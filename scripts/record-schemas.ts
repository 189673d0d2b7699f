import { recordSchemas } from "../test/helpers/earlier-schemas.ts";

/* Adds the present state of `migrations/` to the fixture of the upgrade tests. Run it after each new migration. */
await recordSchemas();
