src/lib/b/index.js
