import { expect, it } from "vitest";
import { parseTarget } from "../../worker/core/target.ts";

it("cuts a URL into its parts", () => {
  expect(parseTarget("https://API.example.com:8443/a/b?x=1")).toEqual({
    scheme: "https",
    hostname: "api.example.com",
    host: "API.example.com:8443",
    path: "/a/b",
    query: "?x=1",
  });
});
