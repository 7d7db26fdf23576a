/* hoy-net: wire a container's network namespace. Stands in for netavark(1), and is it when called by that name. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-net/net.h"
#include "cmd-net/verbs.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/msg.h"
#include "common/cli/opts.h"

#define INPUT_MAX ((size_t)16 << 20)

struct options {
	const char *file, *config, *rootless, *aardvark, *firewall, *keep, *plugins;
	bool version;
};

#define STR(letter, name, field, arg, help) { letter, name, HOY_OPT_STRING, offsetof(struct options, field), arg, help }
static const struct hoy_opt table[] = {
	STR('a', "aardvark-binary", aardvark, "PATH", "the DNS server, for networks that want one"),
	STR('c', "config", config, "DIR", "directory for state, on a tmpfs"),
	STR('f', "file", file, "PATH", "read the JSON there instead of from stdin"),
	STR(0, "firewall-driver", firewall, "NAME", "nftables or none"),
	STR(0, "keep", keep, "BOOL", "teardown leaves interface and bridge (default, but not as netavark)"),
	STR(0, "plugin-directory", plugins, "DIR", NULL),
	STR('r', "rootless", rootless, "BOOL", "called for an ordinary user"),
	{ 'V', "version", HOY_OPT_FLAG, offsetof(struct options, version), NULL, "print the version" },
	HOY_OPTS_END,
};
static const struct hoy_verb verb = { "", "[options] setup|teardown NETNS | remove | version", "Wire a container's network namespace", table, NULL, true };

static bool is(const char *a, const char *b) { return a && !strcmp(a, b); }

/* netavark's way: an object on stdout, and exit status 1. */
static int report(const struct hoy_err *err)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(1 << 16);
	struct hoy_jw w = hoy_jw_on(&b, NULL);

	w.html = false;
	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "error", err->msg);
	hoy_jw_end_object(&w);
	puts(hoy_buf_str(&b));
	return hoy_finish_stdout(1);
}

static int usage(const char *text, const char *which)
{
	hoy_error("%s%s (run: %s --help)", text, which, hoy_tool_name);
	return 2;
}

static bool parse_bool(const char *text, bool *ret)
{
	if (text && strcmp(text, "true") && strcmp(text, "false"))
		return false;
	if (text)
		*ret = is(text, "true");
	return true;
}

/* A pipe as a rule. */
static int read_input(const char *path, struct hoy_buf *in, struct hoy_err *err)
{
	cleanup_fd int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char *room;
	ssize_t n;

	if (path && fd < 0)
		return hoy_fail_errno(err, errno, "failed to load network options: cannot open '%s'", path);
	do {
		room = hoy_buf_reserve(in, 8192);
		n = room ? read(path ? fd : 0, room, 8192) : -1;
		if (n > 0)
			in->len += n;
	} while (n > 0 || (n < 0 && room && errno == EINTR));
	if (n < 0)
		return hoy_fail_errno(err, room ? errno : in->error, "failed to load network options: cannot read %s", path ? path : "stdin");
	return 0;
}

static int choose_firewall(struct request *r, const char *given, struct hoy_err *err)
{
	const char *name = given ? given : getenv("NETAVARK_FW");

	r->firewall = !is(name, "none");
	if (!name || !*name || is(name, "nftables") || is(name, "none"))
		return 0;
	return hoy_fail(err, HOY_EUNSUPPORTED, "firewall driver '%s' is not supported (nftables and none are)", name);
}

static int choose_dns(struct request *r, struct hoy_err *err)
{
	const char *port = getenv("NETAVARK_DNS_PORT");
	char *end;
	unsigned long p = port ? strtoul(port, &end, 10) : 53;

	if (port && (*port < '0' || *port > '9' || *end || !p || p > 65535))
		return hoy_fail(err, EINVAL, "invalid NETAVARK_DNS_PORT '%s'", port);
	r->dns_port = (unsigned)p;
	for (size_t i = 0; i < r->n_nets; i++)
		if (r->nets[i].dns)
			return hoy_fail(err, HOY_EUNSUPPORTED, "network %s: DNS is not supported yet (create it with --disable-dns)", r->nets[i].name);
	return 0;
}

/* setup, teardown and remove: read, check, do. */
static int act(struct request *r, const struct options *o, const char *what, const char *ns, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS), in = HOY_BUF_INIT(INPUT_MAX);
	int e = choose_firewall(r, o->firewall, err);

	if (!e)
		e = read_input(o->file, &in, err);
	if (e)
		return e;
	if (is(what, "remove"))
		e = request_parse_network(r, hoy_buf_str(&in), in.len, err);
	else
		e = request_parse(r, hoy_buf_str(&in), in.len, is(what, "setup"), err);
	if (e)
		return hoy_fail_prefix(err, "failed to load network options");
	if (is(what, "remove"))
		return net_remove(r, err);
	if (is(what, "teardown")) {
		/* Half a teardown helps nobody. */
		signal(SIGTERM, SIG_IGN);
		signal(SIGINT, SIG_IGN);
		return net_teardown(r, ns, err);
	}
	e = choose_dns(r, err);
	if (!e)
		e = net_setup(r, ns, &out, err);
	if (!e)
		fputs(hoy_buf_str(&out), stdout);
	return e;
}

static int version(bool netavark)
{
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4096);
	struct hoy_jw w = hoy_jw_on(&b, "  ");

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "version", netavark ? "1.17.2" : HOY_VERSION);
	hoy_jw_string(&w, "commit", "hoy-net " HOY_VERSION);
	hoy_jw_string(&w, "build_time", "");
	hoy_jw_string(&w, "target", "");
	hoy_jw_string(&w, "default_fw_driver", "nftables");
	hoy_jw_end_object(&w);
	puts(hoy_buf_str(&b));
	return hoy_finish_stdout(0);
}

static int run(const struct options *o, const char *what, const char *ns, bool netavark)
{
	struct request r = { .config = o->config ? o->config : "/run/containers/networks", .aardvark = o->aardvark, .lazy = !netavark, .dns_port = 53 };
	struct hoy_err err = HOY_ERR_INIT;
	int e;

	if (!parse_bool(o->rootless, &r.rootless) || !parse_bool(o->keep, &r.lazy))
		return usage("a boolean option is neither true nor false", "");
	e = act(&r, o, what, ns, &err);
	request_release(&r);
	return e < 0 ? report(&err) : hoy_finish_stdout(0);
}

int main(int argc, char **argv)
{
	static const char *const later[] = { "update", "create", "dhcp-proxy", "firewalld-reload", "firewall-reload" };
	const char *name = argc ? strrchr(argv[0], '/') : NULL;
	struct options o = { 0 };
	struct hoy_err err = HOY_ERR_INIT;
	bool netavark;
	int n;

	name = name ? name + 1 : argc ? argv[0] : "";
	netavark = is(name, "netavark");
	hoy_tool_name = netavark ? "netavark" : "hoy-net";
	n = hoy_opts_parse(&verb, argc, argv, &o, &err);
	if (n == -ECANCELED)
		return hoy_finish_stdout(0);
	if (n < 0)
		return hoy_report(&err, 2);
	if (o.version) {
		printf("%s %s\n", hoy_tool_name, netavark ? "1.17.2" : HOY_VERSION);
		return hoy_finish_stdout(0);
	}
	if (!n)
		return usage("a command is missing", "");
	if (is(argv[1], "version"))
		return version(netavark);
	for (size_t i = 0; i < ARRAY_SIZE(later); i++)
		if (is(argv[1], later[i])) {
			hoy_fail(&err, HOY_EUNSUPPORTED, "%s is not supported", later[i]);
			return report(&err);
		}
	if (is(argv[1], "remove"))
		return n > 1 ? usage("remove takes no argument", "") : run(&o, argv[1], NULL, netavark);
	if (strcmp(argv[1], "setup") && strcmp(argv[1], "teardown"))
		return usage("unknown command ", argv[1]);
	if (n != 2)
		return usage("one network namespace must be named behind ", argv[1]);
	return run(&o, argv[1], argv[2], netavark);
}
