import { GENERATORS } from "../../durable/model/token.ts";
import { describeGenerator } from "./generator.ts";

for (const name of GENERATORS) describeGenerator(name);
