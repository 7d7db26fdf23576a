module.exports = (routes) => ({ routes, find: (path) => routes.find((r) => r.path === path) });
