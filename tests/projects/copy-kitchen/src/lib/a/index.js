src/lib/a/index.js
