// Runs Azurite until standard input ends, so that it never outlives the test
// binary that holds the other end. Once the three services listen nobody reads
// the output any more: drop it, a full or closed pipe would stop the emulator.
"use strict";
const quit = () => process.exit(0);
process.stdin.on("end", quit).on("close", quit).on("error", quit).resume();

let listening = 0;
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (text, ...rest) => {
  const done = write(text, ...rest);
  if (String(text).includes("successfully listening") && ++listening === 3) {
    process.stdout.write = process.stderr.write = () => true;
  }
  return done;
};
require("azurite/dist/src/azurite.js");
