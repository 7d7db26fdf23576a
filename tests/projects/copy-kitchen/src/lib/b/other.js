src/lib/b/other.js
