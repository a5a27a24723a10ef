import { PolicySchema } from "../../durable/model/pool.ts";
import { describePolicy } from "./policy.ts";

for (const name of PolicySchema.options) describePolicy(name);
