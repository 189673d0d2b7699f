import type { Pool } from "../db/pool.ts";
import type { Catalogue } from "./catalogue.ts";
import type { CatalogueCache } from "./catalogue-cache.ts";
import { createCatalogueStore } from "./catalogue-store.ts";

/**
 * Builds the catalogue: single facts come from the cache, trees from the database. A change through this catalogue is
 * seen at once in this process; other processes hear of it by notification.
 */
export function createCatalogue({ pool, cache }: { pool: Pool; cache: CatalogueCache }): Catalogue {
  const store = createCatalogueStore({ pool });
  return {
    ...store,
    findFile: (fileId) => cache.findFile(fileId),
    findCourse: (courseId) => cache.findCourse(courseId),
    findLesson: (lessonId) => cache.findLesson(lessonId),
    async put(courseId, tree, options) {
      const result = await store.put(courseId, tree, options);
      cache.forgetCourse(courseId);
      return result;
    },
    async delete(courseId, options) {
      await store.delete(courseId, options);
      cache.forgetCourse(courseId);
    },
  };
}
