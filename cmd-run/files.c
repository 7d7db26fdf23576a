/* cmd-run/files.c: hosts, hostname, resolv.conf and .containerenv of a container, in its run directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd-run/run.h"
#include "common/base/beneath.h"
#include "common/base/fd.h"

static bool host_net(const struct ctr *c)
{
	return !strcmp(hoy_json_str(c->live.root, "netMode") ?: "", "host");
}

/* First address and gateway that the network tool reported. */
static const char *first_address(const struct hoy_json *status, char *buf, size_t size)
{
	HOY_JSON_EACH(net, status)
		HOY_JSON_EACH(ifc, hoy_json_get(net, "interfaces"))
			HOY_JSON_EACH(sub, hoy_json_get(ifc, "subnets")) {
				snprintf(buf, size, "%s", hoy_json_str(sub, "ipnet") ?: "");
				buf[strcspn(buf, "/")] = '\0';
				return *buf ? buf : NULL;
			}
	return NULL;
}

static const char *first_gateway(const struct hoy_json *status)
{
	HOY_JSON_EACH(net, status)
		HOY_JSON_EACH(ifc, hoy_json_get(net, "interfaces"))
			HOY_JSON_EACH(sub, hoy_json_get(ifc, "subnets"))
				if (hoy_json_str(sub, "gateway"))
					return hoy_json_str(sub, "gateway");
	return NULL;
}

static void hosts(struct ctr *c, const struct hoy_json *status, struct hoy_buf *b)
{
	const char *base = hoy_json_str(hoy_json_get(conf(), "containers"), "base_hosts_file"), *gw = first_gateway(status), *addr;
	const char *hostname = hoy_json_str(c->live.root, "hostname");
	cleanup_free char *data = NULL;
	char ip[64];
	bool local = false;

	HOY_JSON_EACH(h, hoy_json_get(c->def.root, "addHosts")) {
		const char *colon = strchr(h->str, ':');

		hoy_buf_printf(b, "%s\t%.*s\n", strcmp(colon + 1, "host-gateway") ? colon + 1 : gw ? gw : "127.0.0.1", (int)(colon - h->str), h->str);
	}
	if (!base || (strcmp(base, "none") && strcmp(base, "image"))) {
		if (!hoy_read_file(AT_FDCWD, base && *base ? base : "/etc/hosts", 1 << 20, &data, NULL, NULL)) {
			cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;

			hoy_strv_split(&lines, data, '\n');
			for (size_t i = 0; i < lines.n; i++) {
				char *hash = strchr(lines.v[i], '#');

				if (hash)
					*hash = '\0';
				if (!lines.v[i][strspn(lines.v[i], " \t\r")])
					continue;
				local = local || strstr(lines.v[i], "localhost");
				hoy_buf_printf(b, "%s\n", lines.v[i]);
			}
		}
	}
	if (!local)
		hoy_buf_puts(b, "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
	if (host_net(c))
		return;
	if (gw)
		hoy_buf_printf(b, "%s\thost.containers.internal host.docker.internal\n", gw);
	addr = first_address(status, ip, sizeof(ip));
	if (hostname)
		hoy_buf_printf(b, "%s\t%s %s\n", addr ? addr : "127.0.0.1", hostname, ctr_name(c));
}

/* The host's file, or systemd-resolved's real one behind its stub. */
static char *host_resolv(void)
{
	char *data = NULL;

	if (hoy_read_file(AT_FDCWD, "/etc/resolv.conf", 1 << 20, &data, NULL, NULL) < 0)
		return strdup("");
	if (strstr(data, "nameserver 127.0.0.53")) {
		char *real = NULL;

		if (!hoy_read_file(AT_FDCWD, "/run/systemd/resolve/resolv.conf", 1 << 20, &real, NULL, NULL)) {
			free(data);
			data = real;
		}
	}
	return data;
}

static void names(const struct hoy_json *list, const char *word, struct hoy_buf *b)
{
	HOY_JSON_EACH(it, list)
		if (hoy_json_text(it))
			hoy_buf_printf(b, "%s %s\n", word, it->str);
}

static void resolv_conf(struct ctr *c, const struct hoy_json *status, struct hoy_buf *b)
{
	const struct hoy_json *dns = hoy_json_get(c->def.root, "dns"), *search = hoy_json_get(c->def.root, "dnsSearch");
	const struct hoy_json *options = hoy_json_get(c->def.root, "dnsOptions");
	cleanup_free char *host = host_resolv();
	cleanup_strv struct hoy_strv lines = HOY_STRV_INIT;
	const char *sep = "search ";
	bool servers = dns && dns->child, own = host_net(c);

	HOY_JSON_EACH(it, search)
		if (hoy_json_text(it) && strcmp(it->str, ".")) {
			hoy_buf_printf(b, "%s%s", sep, it->str);
			sep = " ";
		}
	if (*sep == ' ')
		hoy_buf_putc(b, '\n');
	HOY_JSON_EACH(net, status)
		HOY_JSON_EACH(ip, hoy_json_get(net, "dns_server_ips"))
			if (hoy_json_text(ip) && !servers) {
				hoy_buf_printf(b, "nameserver %s\n", ip->str);
				servers = true;
			}
	names(dns, "nameserver", b);
	hoy_strv_split(&lines, host ? host : "", '\n');
	for (size_t i = 0; i < lines.n; i++) {
		const char *l = lines.v[i] + strspn(lines.v[i], " \t");

		if (!strncmp(l, "nameserver", 10)) {
			const char *ip = l + 10 + strspn(l + 10, " \t");

			/* The host's loopback is not ours. */
			if (!(dns && dns->child) && !servers && (own || (strncmp(ip, "127.", 4) && strncmp(ip, "::1", 3))))
				hoy_buf_printf(b, "nameserver %s\n", ip);
		} else if (!strncmp(l, "search", 6) || !strncmp(l, "domain", 6)) {
			if (!(search && search->child))
				hoy_buf_printf(b, "%s\n", l);
		} else if (!strncmp(l, "options", 7) && !(options && options->child)) {
			hoy_buf_printf(b, "%s\n", l);
		}
	}
	names(options, "options", b);
}

static int put(struct ctr *c, int dirfd, const char *name, const struct hoy_buf *b, struct hoy_err *err)
{
	/* Bind-mounted into the container: rewritten in place so that a running container sees it. */
	cleanup_fd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	int r = fd < 0 ? -errno : hoy_write_full(fd, hoy_buf_str(b), b->len);
	uid_t uid;
	gid_t gid;

	if (!r && ctr_has_userns(c)) {
		r = ctr_outside(c, 0, 0, &uid, &gid, err);
		if (r < 0)
			return r;
		r = fchown(fd, uid, gid) < 0 ? -errno : 0;
	}
	return r < 0 ? hoy_fail_errno(err, -r, "cannot write '%s/%s'", c->rundir, name) : 0;
}

int put_file(struct ctr *c, const char *name, const struct hoy_buf *b, struct hoy_err *err)
{
	cleanup_fd int dirfd = open(c->rundir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dirfd < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", c->rundir) : put(c, dirfd, name, b, err);
}

int write_files(struct ctr *c, const struct hoy_json *status, struct hoy_err *err)
{
	cleanup_fd int dirfd = open(c->rundir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_buf struct hoy_buf b = HOY_BUF_INIT(4 << 20);
	const char *mode = hoy_json_str(c->live.root, "netMode") ?: "";
	int r = dirfd < 0 ? hoy_fail_errno(err, errno, "cannot open '%s'", c->rundir) : 0;

	if (!r && !hoy_json_bool(c->def.root, "noHosts", false)) {
		hosts(c, status, &b);
		r = put(c, dirfd, "hosts", &b, err);
	}
	hoy_buf_reset(&b);
	if (!r && !hoy_json_bool(c->def.root, "noHostname", false)) {
		hoy_buf_printf(&b, "%s\n", hoy_json_str(c->live.root, "hostname") ?: "");
		r = put(c, dirfd, "hostname", &b, err);
	}
	hoy_buf_reset(&b);
	if (!r && strcmp(mode, "none") && !hoy_json_bool(c->def.root, "imageResolv", false)) {
		resolv_conf(c, status, &b);
		r = put(c, dirfd, "resolv.conf", &b, err);
	}
	hoy_buf_reset(&b);
	if (!r && hoy_json_bool(c->def.root, "privileged", false))
		hoy_buf_printf(&b, "engine=\"hoy-%s\"\nname=\"%s\"\nid=\"%s\"\nimage=\"%s\"\nimageid=\"%s\"\nrootless=%d\n", HOY_VERSION,
			       ctr_name(c), c->id, hoy_json_str(c->def.root, "imageName") ?: "", hoy_json_str(c->def.root, "image") ?: "",
			       c->s->rootless);
	return r ? r : put(c, dirfd, ".containerenv", &b, err);
}
