const fs = require('fs');
fs.mkdirSync('dist', { recursive: true });
fs.writeFileSync('dist/server.js', '// bundled\n' + fs.readFileSync(process.argv[2]));
