// Without npm: the packages of the lock file, as links or copies.
const fs = require('fs');
const lock = JSON.parse(fs.readFileSync('package-lock.json'));
fs.mkdirSync('node_modules/.bin', { recursive: true });
for (const [path, entry] of Object.entries(lock.packages)) {
	fs.cpSync(entry.resolved, path, { recursive: true });
	fs.chmodSync(`${path}/cli.js`, 0o755);
	fs.symlinkSync('../router/cli.js', 'node_modules/.bin/router');
}
