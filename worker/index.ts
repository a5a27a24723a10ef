import { Directory } from "../durable/directory.ts";
import { Ring } from "../durable/ring.ts";
import { createAdmin, isAdminRequest } from "./admin/app.ts";
import { BAD_TARGET } from "./core/problem.ts";
import { answerProblem } from "./edge/answer-problem.ts";
import { thisIsolate } from "./edge/isolate.ts";
import { Passage } from "./edge/passage.ts";
import { serve } from "./edge/pipeline.ts";
import type { Env } from "./env.ts";

let admin: ReturnType<typeof createAdmin> | null = null;

export { Directory, Ring };

export default {
  fetch(request, env, context) {
    const isolate = thisIsolate(env);
    const target = isolate.targets.parse(request.url);
    if (target === null) return answerProblem(BAD_TARGET, request);
    if (!isAdminRequest(target, isolate.settings))
      return serve(new Passage(request, target, env, context, isolate));
    admin ??= createAdmin(isolate.settings, isolate.tokenGuesses);
    return admin.fetch(request, env, context);
  },
} satisfies ExportedHandler<Env>;
