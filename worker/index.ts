import { Directory } from "../durable/directory.ts";
import { Ring } from "../durable/ring.ts";
import { createAdmin, isAdminRequest } from "./admin/app.ts";
import { thisIsolate } from "./edge/isolate.ts";
import { serve } from "./edge/pipeline.ts";
import type { Env } from "./env.ts";

let admin: ReturnType<typeof createAdmin> | null = null;

export { Directory, Ring };

export default {
  fetch(request, env, context) {
    const isolate = thisIsolate(env);
    const { url } = request;
    if (!isAdminRequest(url, isolate.settings)) return serve({ request, url, env, context, isolate });
    admin ??= createAdmin(isolate.settings);
    return admin.fetch(request, env, context);
  },
} satisfies ExportedHandler<Env>;
