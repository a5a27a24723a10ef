import { connect } from "node:net";
import { expect, inject, it } from "vitest";
import { Cluster } from "../support/cluster.ts";
import { OPERATOR_TOKEN } from "../support/edge.ts";

/** Sends bytes as they are, and gives what comes back. */
function send(edgeUrl: string, text: string): Promise<string> {
  return new Promise((resolve) => {
    let got = "";
    const socket = connect(Number(new URL(edgeUrl).port), "127.0.0.1", () => socket.write(text));
    socket.on("data", (chunk) => {
      got += chunk.toString();
      if (got.includes("}")) socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(got));
  });
}

// What happened: it was answered 500, as a bug of ours, and logged with a stack.
it("answers 400 to a body that breaks off, and 413 to chunks that come to more than the limit, and logs nothing", async () => {
  const logged: string[] = [];
  const { admin, edge } = await Cluster.start({
    bundle: inject("bundle"),
    backends: [],
    onLog: (line) => logged.push(line),
  });
  const head = `PUT /_ring/pools/shop HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer ${OPERATOR_TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  expect(await send(edge.urls[0], `${head}2\r\n{}\r\nno number\r\n`)).toMatch(
    /^HTTP\/1\.1 400 .*did not arrive whole/s,
  );
  const chunk = `10000\r\n${" ".repeat(65_536)}\r\n`;
  expect(await send(edge.urls[0], `${head}${chunk.repeat(17)}`)).toMatch(/^HTTP\/1\.1 413 .*1048576 bytes/s);
  expect((await admin.send("GET", "/pools/shop")).status).toBe(404);
  expect(await send(edge.urls[0], `${head}2\r\n{}\r\n0\r\n\r\n`)).toMatch(/^HTTP\/1\.1 201 /);
  expect(logged).toEqual([]);
});
