const router = require('router')([{ path: '/' }, { path: '/health' }]);
if (require.main === module)
	console.log(`serving ${router.routes.length} routes as ${process.getuid() ? 'a user' : 'root'}`);
module.exports = router;
