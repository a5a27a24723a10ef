// Plain JavaScript, because the Node that it turns away cannot run TypeScript.
if (!process.features.typescript) {
  console.error(
    `This needs Node 22.18 or newer, and ${process.execPath} is ${process.version}. ` +
      "`npm ci` brings a Node 24 of its own, unless it runs without install scripts. To fetch it now: npm rebuild node",
  );
  process.exit(1);
}
