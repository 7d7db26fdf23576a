const n = require("fs").readdirSync("node_modules").length;
console.log(`started with ${n} dependency`);
