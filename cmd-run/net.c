/* cmd-run/net.c: a container's network: its namespace, address, ports, and the network tool (netavark's JSON). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/fd.h"
#include "common/conf/dirs.h"
#include "common/proc/sibling.h"

#define NET_ID "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9" /* podman's id of its default network */
#define IPAM_DIR "/run/containers/networks/hoy"

static bool is(const char *a, const char *b) { return a && !strcmp(a, b); }

/* ---- ports ---- */

static bool range(const char *s, unsigned *from, unsigned *count)
{
	char *end;
	unsigned long a, b;

	if (!*s || *s < '0' || *s > '9')
		return false;
	a = b = strtoul(s, &end, 10);
	if (*end == '-')
		b = strtoul(end + 1, &end, 10);
	if (*end || a > 65535 || b > 65535 || b < a || !b)
		return false;
	*from = (unsigned)a;
	*count = (unsigned)(b - a + 1);
	return true;
}

/* A port that is free right now. */
static unsigned free_port(bool udp)
{
	cleanup_fd int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return 0;
	return ntohs(sa.sin_port);
}

static int put_port(struct hoy_json_doc *d, struct hoy_json *ports, const char *ip, unsigned host, unsigned inner, unsigned count,
		    const char *proto, struct hoy_err *err)
{
	struct hoy_json *o = hoy_json_put(d, ports, NULL, hoy_json_new(d, HOY_JSON_OBJECT));

	if (!host)
		host = free_port(is(proto, "udp"));
	if (!o || !hoy_json_set_string(d, o, "host_ip", ip) || !hoy_json_set_int(d, o, "container_port", inner) ||
	    !hoy_json_set_int(d, o, "host_port", host) || !hoy_json_set_int(d, o, "range", count) ||
	    !hoy_json_set_string(d, o, "protocol", proto))
		return hoy_fail_oom(err);
	return 0;
}

int parse_port(struct hoy_json_doc *d, struct hoy_json *ports, const char *text, struct hoy_err *err)
{
	cleanup_free char *copy = strdup(text), *ip = NULL;
	const char *proto = "tcp", *host = "", *inner;
	unsigned h = 0, hn = 0, c, cn;
	unsigned char addr[16];
	char *slash, *colon;

	if (!copy)
		return hoy_fail_oom(err);
	slash = strchr(copy, '/');
	if (slash) {
		*slash = '\0';
		proto = slash + 1;
	}
	if (strcmp(proto, "tcp") && strcmp(proto, "udp") && strcmp(proto, "sctp"))
		return hoy_fail(err, EINVAL, "unrecognized protocol \"%s\" in port mapping '%s'", proto, text);
	colon = strrchr(copy, ':');
	inner = colon ? colon + 1 : copy;
	if (colon) {
		*colon = '\0';
		host = copy;
		if (copy[0] == '[') {
			char *close = strchr(copy, ']');

			if (!close || (close[1] && close[1] != ':'))
				return hoy_fail(err, EINVAL, "invalid port format '%s'", text);
			ip = strndup(copy + 1, close - copy - 1);
			host = close[1] ? close + 2 : "";
		} else if ((colon = strrchr(copy, ':'))) {
			ip = strndup(copy, colon - copy);
			host = colon + 1;
		}
	}
	if (ip && *ip && inet_pton(AF_INET, ip, addr) != 1 && inet_pton(AF_INET6, ip, addr) != 1)
		return hoy_fail(err, EINVAL, "cannot parse \"%s\" as an IP address", ip);
	if (!range(inner, &c, &cn))
		return hoy_fail(err, EINVAL, "invalid container port '%s' in '%s': port numbers must be between 1 and 65535", inner, text);
	if (*host && !range(host, &h, &hn))
		return hoy_fail(err, EINVAL, "invalid host port '%s' in '%s': port numbers must be between 1 and 65535", host, text);
	if (*host && hn != cn)
		return hoy_fail(err, EINVAL, "host and container port ranges have different lengths: %u vs %u", hn, cn);
	return put_port(d, ports, ip ? ip : "", h, c, cn, proto, err);
}

/* Reserve one host port, so that a clash shows now and nobody else takes it while we have it. */
static int bind_port(struct ctr *c, const char *ip, unsigned port, const char *proto, struct hoy_err *err)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	bool six = strchr(ip, ':'), udp = is(proto, "udp");
	int one = 1, fd;

	if (is(proto, "sctp") || c->n_port_fds == ARRAY_SIZE(c->port_fds))
		return 0;
	fd = socket(six ? AF_INET6 : AF_INET, udp ? SOCK_DGRAM | SOCK_CLOEXEC : SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot make a socket");
	if (*ip)
		inet_pton(six ? AF_INET6 : AF_INET, ip, six ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, udp ? 0 : sizeof(one));
	if (bind(fd, six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, six ? sizeof(v6) : sizeof(v4)) < 0 ||
	    (!udp && listen(fd, 0) < 0)) {
		int e = errno;

		hoy_close(fd);
		return hoy_fail_errno(err, e, "cannot listen on the %s port: listen %s%d %s:%u: bind", udp ? "UDP" : "TCP", proto, six ? 6 : 4,
				      ip, port);
	}
	c->port_fds[c->n_port_fds++] = fd;
	return 0;
}

static int bind_ports(struct ctr *c, struct hoy_err *err)
{
	int r = 0;

	HOY_JSON_EACH(p, hoy_json_get(c->def.root, "ports"))
		for (int64_t i = 0, n = hoy_json_int(p, "range", 1); i < n && !r; i++)
			r = bind_port(c, hoy_json_str(p, "host_ip"), (unsigned)(hoy_json_int(p, "host_port", 0) + i),
				      hoy_json_str(p, "protocol"), err);
	return r;
}

/* ---- the network's definition ---- */

static char *network_dir(const struct ctr *c)
{
	if (hoy_globals.network_config_dir && *hoy_globals.network_config_dir)
		return strdup(hoy_globals.network_config_dir);
	return c->s->rootless ? hoy_path_join(c->s->conf.graphroot, "networks") : strdup("/etc/containers/networks");
}

static int load_network(const struct ctr *c, const char *name, struct hoy_json_doc *doc, struct hoy_err *err)
{
	cleanup_free char *dir = network_dir(c), *path = dir ? hoy_asprintf("%s/%s.json", dir, name) : NULL, *text = NULL;
	const char *subnet = hoy_json_str(hoy_json_get(conf(), "network"), "default_subnet") ?: "10.88.0.0/16";
	struct in_addr net;
	char gw[INET_ADDRSTRLEN], copy[64];

	if (!path)
		return hoy_fail_oom(err);
	if (strchr(name, '/') || name[0] == '.')
		return hoy_fail(err, EINVAL, "'%s' is no network name", name);
	if (hoy_exists(AT_FDCWD, path))
		return hoy_json_load(doc, AT_FDCWD, path, 1 << 20, err);
	if (strcmp(name, hoy_json_str(hoy_json_get(conf(), "network"), "default_network") ?: "podman"))
		return hoy_fail(err, ENOENT, "unable to find network with name or ID %s: network not found", name);
	snprintf(copy, sizeof(copy), "%s", subnet);
	copy[strcspn(copy, "/")] = '\0';
	if (inet_pton(AF_INET, copy, &net) != 1)
		return hoy_fail(err, EINVAL, "default_subnet '%s' is no IPv4 network", subnet);
	net.s_addr = htonl(ntohl(net.s_addr) + 1);
	inet_ntop(AF_INET, &net, gw, sizeof(gw));
	text = hoy_asprintf("{\"name\":\"%s\",\"id\":\"" NET_ID "\",\"driver\":\"bridge\",\"network_interface\":\"podman0\","
			    "\"created\":\"2024-01-01T00:00:00Z\",\"subnets\":[{\"subnet\":\"%s\",\"gateway\":\"%s\"}],"
			    "\"ipv6_enabled\":false,\"internal\":false,\"dns_enabled\":false,\"ipam_options\":{\"driver\":\"host-local\"}}",
			    name, subnet, gw);
	return text ? hoy_json_parse(doc, text, strlen(text), name, err) : hoy_fail_oom(err);
}

/* ---- addresses ---- */

/*
 * An address that is taken is a symlink to the notes of who has it: whole or not there, and it leads nowhere once its
 * container is gone.
 */
static bool taken(int dirfd, const char *ip)
{
	return !faccessat(dirfd, ip, F_OK, 0);
}

static int claim(struct ctr *c, int dirfd, const char *ip)
{
	cleanup_free char *live = hoy_path_join(c->rundir, "live");
	int r = 0;

	if (!live || !hoy_json_set_string(&c->live, c->live.root, "ip", ip))
		return -ENOMEM;
	/* Before the deed: what is noted is what gets undone. */
	r = ctr_save_live(c, NULL);
	if (!r && unlinkat(dirfd, ip, 0) < 0 && errno != ENOENT)
		r = -errno;
	return r ? r : symlinkat(live, dirfd, ip) < 0 ? -errno : 0;
}

static int parse_subnet(const char *text, uint32_t *base, unsigned *bits)
{
	char copy[64];
	char *slash;
	struct in_addr a;

	snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	*bits = (unsigned)atoi(slash + 1);
	if (inet_pton(AF_INET, copy, &a) != 1 || *bits > 32 || *bits < 1)
		return -EINVAL;
	*base = ntohl(a.s_addr) & (uint32_t)(0xffffffffUL << (32 - *bits));
	return 0;
}

static int first_free(int dirfd, uint32_t base, unsigned bits, const char *gw, char ip[INET_ADDRSTRLEN])
{
	for (uint32_t a = (base | (uint32_t)(0xffffffffULL >> bits)) - 1; a > base; a--) {
		struct in_addr in = { htonl(a) };

		inet_ntop(AF_INET, &in, ip, INET_ADDRSTRLEN);
		if (strcmp(ip, gw) && !taken(dirfd, ip))
			return 0;
	}
	return -EADDRNOTAVAIL;
}

/*
 * An address from the end of the subnet downwards: podman allocates upwards. Whoever restarts with the same container
 * gets the next free one, as with podman.
 */
static int allocate(struct ctr *c, const struct hoy_json *net, char ip[INET_ADDRSTRLEN], struct hoy_err *err)
{
	const char *name = hoy_json_str(net, "name"), *want = hoy_json_str(c->def.root, "ip"), *gw = NULL, *subnet = NULL;
	cleanup_free char *dir = hoy_asprintf("%s/%s", c->s->rootless ? c->rundir : IPAM_DIR, name);
	cleanup_fd int dirfd = -1;
	struct hoy_lock lock = HOY_LOCK_INIT;
	uint32_t base = 0;
	unsigned bits = 0;
	int r;

	HOY_JSON_EACH(s, hoy_json_get(net, "subnets"))
		if (hoy_json_str(s, "subnet") && !strchr(hoy_json_str(s, "subnet"), ':') && !subnet) {
			subnet = hoy_json_str(s, "subnet");
			gw = hoy_json_str(s, "gateway") ?: "";
		}
	if (!subnet || parse_subnet(subnet, &base, &bits) < 0)
		return hoy_fail(err, HOY_EUNSUPPORTED, "network '%s' has no IPv4 subnet", name);
	dirfd = dir ? hoy_open_dir_p(AT_FDCWD, dir, 0755) : -ENOMEM;
	r = dirfd < 0 ? dirfd : hoy_lock_open(&lock, dirfd, "lock", false);
	if (!r)
		r = hoy_lock_take(&lock, true);
	if (!r && want) {
		snprintf(ip, INET_ADDRSTRLEN, "%s", want);
		r = taken(dirfd, ip) ? -EEXIST : claim(c, dirfd, ip);
	} else if (!r) {
		r = first_free(dirfd, base, bits, gw, ip);
		if (!r)
			r = claim(c, dirfd, ip);
	}
	hoy_lock_close(&lock);
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot get an address%s%s of network '%s'", want ? " " : "", want ? want : "", name);
	return 0;
}

static void release_address(struct ctr *c)
{
	const char *ip = hoy_json_str(c->live.root, "ip"), *net = hoy_json_str(c->live.root, "netName");
	cleanup_free char *path = ip && net ? hoy_asprintf("%s/%s/%s", c->s->rootless ? c->rundir : IPAM_DIR, net, ip) : NULL;
	char to[PATH_MAX] = "";

	/* Not if somebody else has it by now. */
	if (path && readlink(path, to, sizeof(to) - 1) > 0 && !strncmp(to, c->rundir, strlen(c->rundir)))
		unlink(path);
}

/* ---- the tool ---- */

static void aliases(struct hoy_jw *w, const struct ctr *c)
{
	char short_id[13];

	snprintf(short_id, sizeof(short_id), "%.12s", c->id);
	hoy_jw_array(w, "aliases");
	HOY_JSON_EACH(it, hoy_json_get(c->def.root, "aliases"))
		hoy_jw_value(w, NULL, it);
	hoy_jw_string(w, NULL, short_id);
	hoy_jw_end_array(w);
}

/* netavark's input (its "network options"). */
static void tool_input(const struct ctr *c, const struct hoy_json *net, const char *ip, struct hoy_buf *b)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);
	const char *name = hoy_json_str(net, "name");

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "container_id", c->id);
	hoy_jw_string(&w, "container_name", ctr_name(c));
	hoy_jw_array(&w, "port_mappings");
	HOY_JSON_EACH(it, hoy_json_get(c->def.root, "ports"))
		hoy_jw_value(&w, NULL, it);
	hoy_jw_end_array(&w);
	hoy_jw_object(&w, "networks");
	hoy_jw_object(&w, name);
	hoy_jw_array(&w, "static_ips");
	hoy_jw_string(&w, NULL, ip);
	hoy_jw_end_array(&w);
	aliases(&w, c);
	hoy_jw_string(&w, "interface_name", "eth0");
	hoy_jw_string_opt(&w, "static_mac", hoy_json_str(c->def.root, "mac"));
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
	hoy_jw_object(&w, "network_info");
	hoy_jw_value(&w, name, net);
	hoy_jw_end_object(&w);
	hoy_jw_end_object(&w);
}

static const char *tool_path(void)
{
	static char *path;

	if (!path)
		path = hoy_json_str(hoy_json_get(conf(), "network"), "hoy_network_tool") ?
		       strdup(hoy_json_str(hoy_json_get(conf(), "network"), "hoy_network_tool")) : hoy_sibling("hoy-net");
	return path;
}

static int run_net(const struct ctr *c, const char *verb, const struct hoy_buf *in, struct hoy_buf *out, struct hoy_err *err)
{
	cleanup_free char *netns = hoy_path_join(c->rundir, "netns");
	char *argv[] = { (char *)tool_path(), (char *)"--config", (char *)"/run/containers/networks", (char *)verb, netns, NULL };
	cleanup_buf struct hoy_buf text = HOY_BUF_INIT(1 << 16);
	cleanup_json struct hoy_json_doc doc = HOY_JSON_DOC_INIT;
	int r = run_tool(argv, in->data, in->len, out, &text);

	if (!r)
		return 0;
	/* netavark prints {"error": "..."} on stdout */
	if (r > 0 && out->len && !hoy_json_parse(&doc, out->data, out->len, "network tool", NULL) && hoy_json_str(doc.root, "error"))
		return hoy_fail(err, HOY_EREMOTE, "cannot set up the network: %s", hoy_json_str(doc.root, "error"));
	if (r < 0)
		return hoy_fail_errno(err, -r, "cannot run '%s'", tool_path());
	return hoy_fail(err, HOY_EREMOTE, "cannot set up the network: %s ended with %d: %s", tool_path(), r, hoy_buf_str(&text));
}

int net_resolve(struct ctr *c, struct hoy_err *err)
{
	const char *want = hoy_json_str(c->def.root, "network") ?: "", *mode = want, *name = NULL;
	const char *rootless = hoy_json_str(hoy_json_get(conf(), "network"), "default_rootless_network_cmd") ?: "pasta";
	const char *dflt = hoy_json_str(hoy_json_get(conf(), "network"), "default_network") ?: "podman";

	if (!*want || is(want, "default"))
		mode = c->s->rootless ? rootless : "bridge";
	if (is(mode, "private"))
		mode = c->s->rootless ? rootless : "bridge";
	if (strncmp(mode, "container:", 10) == 0 || strncmp(mode, "ns:", 3) == 0 || strncmp(mode, "pod:", 4) == 0)
		return hoy_fail(err, HOY_EUNSUPPORTED, "--network '%s' is not supported", mode);
	if (!strncmp(mode, "slirp4netns", 11) || !strncmp(mode, "pasta:", 6) || !strncmp(mode, "bridge:", 7))
		return hoy_fail(err, HOY_EUNSUPPORTED, "--network '%s' is not supported", mode);
	if (strcmp(mode, "none") && strcmp(mode, "host") && strcmp(mode, "pasta")) {
		name = is(mode, "bridge") ? dflt : mode;
		mode = "bridge";
		if (c->s->rootless)
			return hoy_fail(err, HOY_EUNSUPPORTED, "--network '%s' is not supported without root (none, host, pasta)", name);
	}
	if (!hoy_json_set_string(&c->live, c->live.root, "netMode", mode) ||
	    (name && !hoy_json_set_string(&c->live, c->live.root, "netName", name)))
		return hoy_fail_oom(err);
	return 0;
}

int note_netns(struct ctr *c, struct hoy_err *err)
{
	cleanup_free char *path = hoy_path_join(c->rundir, "netns");

	return path && hoy_json_set_string(&c->live, c->live.root, "netns", path) ? 0 : hoy_fail_oom(err);
}

/*
 * What belongs to the container's user namespace, the runtime makes with that; it is wired once the process is there that
 * waits in it for its start.
 */
bool net_late(const struct ctr *c)
{
	const char *mode = hoy_json_str(c->live.root, "netMode");

	return (is(mode, "bridge") || is(mode, "pasta")) && ctr_has_userns(c);
}

static int pin_made(struct ctr *c, const char *path, struct hoy_err *err)
{
	cleanup_free char *ns = hoy_asprintf("/proc/%lld/ns/net", (long long)hoy_json_int(c->live.root, "pid", 0));

	if (!ns || mount(ns, path, NULL, MS_BIND, NULL) < 0)
		return hoy_fail_errno(err, ns ? errno : ENOMEM, "cannot keep the network namespace at '%s'", path);
	return 0;
}

int pin_netns(struct ctr *c, struct hoy_err *err)
{
	const char *path = net_path(c);
	cleanup_fd int file = path ? open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	int status = 0;
	pid_t child;

	if (file < 0)
		return hoy_fail_errno(err, errno, "cannot make '%s'", path ? path : c->rundir);
	if (net_late(c))
		return pin_made(c, path, err);
	/* In a child: an ordinary user's process that left the host's network namespace could not come back. */
	child = vfork();
	if (!child)
		_exit(unshare(CLONE_NEWNET) < 0 ? errno : mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0 ? errno : 0);
	if (child < 0)
		return hoy_fail_errno(err, errno, "cannot make a network namespace");
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return hoy_fail_errno(err, WIFEXITED(status) ? WEXITSTATUS(status) : EIO, "cannot make a network namespace at '%s'", path);
	return 0;
}

const char *net_path(const struct ctr *c)
{
	return hoy_json_str(c->live.root, "netns");
}

/* All but the wiring: what is taken for the container, and noted. */
static int reserve_bridge(struct ctr *c, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc net = HOY_JSON_DOC_INIT;
	char ip[INET_ADDRSTRLEN];
	int r = load_network(c, hoy_json_str(c->live.root, "netName"), &net, err);

	if (!r)
		r = bind_ports(c, err);
	if (!r && !hoy_json_put(&c->live, c->live.root, "network", hoy_json_copy(&c->live, net.root)))
		r = hoy_fail_oom(err);
	if (!r)
		r = note_netns(c, err);
	return r ? r : allocate(c, net.root, ip, err);
}

static int wire_bridge(struct ctr *c, struct hoy_err *err)
{
	cleanup_json struct hoy_json_doc status = HOY_JSON_DOC_INIT;
	cleanup_buf struct hoy_buf in = HOY_BUF_INIT(1 << 20), out = HOY_BUF_INIT(1 << 20);
	int r = pin_netns(c, err);

	if (r < 0)
		return r;
	tool_input(c, hoy_json_get(c->live.root, "network"), hoy_json_str(c->live.root, "ip"), &in);
	if (in.error)
		r = hoy_fail_oom(err);
	if (!r)
		r = run_net(c, "setup", &in, &out, err);
	if (!r)
		r = hoy_json_parse(&status, hoy_buf_str(&out), out.len, "network status", err);
	if (!r && !hoy_json_put(&c->live, c->live.root, "netStatus", hoy_json_copy(&c->live, status.root)))
		r = hoy_fail_oom(err);
	return r;
}

int net_reserve(struct ctr *c, struct hoy_err *err)
{
	const char *mode = hoy_json_str(c->live.root, "netMode");

	if (is(mode, "bridge"))
		return reserve_bridge(c, err);
	if (is(mode, "pasta"))
		return note_netns(c, err);
	if (is(mode, "none") && hoy_json_get(c->def.root, "ports"))
		hoy_warning("port mappings have been discarded because \"none\" network namespace mode does not support them");
	return 0;
}

int net_wire(struct ctr *c, struct hoy_err *err)
{
	const char *mode = hoy_json_str(c->live.root, "netMode");

	return is(mode, "bridge") ? wire_bridge(c, err) : is(mode, "pasta") ? pasta_setup(c, err) : 0;
}

void net_teardown(struct ctr *c)
{
	const char *mode = hoy_json_str(c->live.root, "netMode"), *ip = hoy_json_str(c->live.root, "ip");
	const struct hoy_json *net = hoy_json_get(c->live.root, "network");
	cleanup_buf struct hoy_buf in = HOY_BUF_INIT(1 << 20), out = HOY_BUF_INIT(1 << 20);
	struct hoy_err err = HOY_ERR_INIT;

	if (is(mode, "pasta"))
		pasta_teardown(c);
	if (is(mode, "bridge") && net && ip && (c->def.root || ctr_load_def(c, NULL) == 0)) {
		tool_input(c, net, ip, &in);
		/* Twice: nobody comes after us, and somebody may have killed the tool. */
		if (run_net(c, "teardown", &in, &out, &err) < 0 && run_net(c, "teardown", &in, &out, &err) < 0)
			hoy_warning("network of container %.12s: %s, ignoring", c->id, err.msg);
	}
	release_address(c);
	if (net_path(c)) {
		umount2(net_path(c), MNT_DETACH);
		unlink(net_path(c));
	}
	while (c->n_port_fds)
		hoy_close(c->port_fds[--c->n_port_fds]);
}
