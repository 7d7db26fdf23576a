/*
 * cmd-net/state.c: netavark's files below CONFIG/firewall, from which `netavark firewall-reload` restores rules, its lock,
 * and the answer of a setup.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "cmd-net/net.h"
#include "cmd-net/sha512.h"
#include "common/base/err.h"
#include "common/base/fd.h"

static int open_dir(const struct request *r, const char *name, struct hoy_err *err)
{
	cleanup_free char *path = hoy_asprintf("%s/firewall%s%s", r->config, *name ? "/" : "", name);
	int fd = path ? hoy_open_dir_p(AT_FDCWD, path, 0755) : -ENOMEM;

	return fd < 0 ? hoy_fail_errno(err, -fd, "cannot open '%s'", path ? path : name) : fd;
}

/* The file that netavark locks too, with flock(2): gone with the process. Returns its descriptor. */
int state_lock(const struct request *r, struct hoy_err *err)
{
	cleanup_fd int dir = open_dir(r, "", err), fd = -1;

	if (dir < 0)
		return dir;
	fd = openat(dir, "firewall-reload.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return hoy_fail_errno(err, errno, "cannot open '%s/firewall/firewall-reload.lock'", r->config);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return hoy_fail_errno(err, errno, "cannot lock '%s/firewall/firewall-reload.lock'", r->config);
	return steal_fd(&fd);
}

static void network_json(const struct request *r, const struct network *n, const char *hash, struct hoy_buf *b)
{
	static const char *const isolation[] = { "Never", "Normal", "Strict" };
	struct hoy_jw w = hoy_jw_on(b, NULL);
	char text[ADDR_TEXT];

	hoy_jw_object(&w, NULL);
	hoy_jw_array(&w, "subnets");
	for (size_t i = 0; i < n->n_subnets; i++)
		hoy_jw_string(&w, NULL, prefix_text(&n->subnets[i].net, text));
	hoy_jw_end_array(&w);
	hoy_jw_string(&w, "bridge_name", n->bridge);
	hoy_jw_string(&w, "network_id", n->id);
	hoy_jw_string(&w, "network_hash_name", hash);
	hoy_jw_string(&w, "isolation", isolation[n->isolate]);
	hoy_jw_uint(&w, "dns_port", r->dns_port);
	hoy_jw_end_object(&w);
}

static void ports_array(const struct request *r, struct hoy_jw *w)
{
	const struct hoy_json *given = hoy_json_get(r->doc.root, "port_mappings");

	if (!hoy_json_is(given, HOY_JSON_ARRAY)) {
		hoy_jw_null(w, "port_mappings");
		return;
	}
	hoy_jw_array(w, "port_mappings");
	for (size_t i = 0; i < r->n_ports; i++) {
		const struct port *p = &r->ports[i];

		hoy_jw_object(w, NULL);
		hoy_jw_uint(w, "container_port", p->inner);
		hoy_jw_string(w, "host_ip", hoy_json_str(p->json, "host_ip"));
		hoy_jw_uint(w, "host_port", p->host);
		hoy_jw_string(w, "protocol", p->proto);
		hoy_jw_uint(w, "range", p->count);
		hoy_jw_end_object(w);
	}
	hoy_jw_end_array(w);
}

static void family_json(const struct network *n, int family, struct hoy_jw *w)
{
	const struct address *a = NULL;
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n->n_ips && !a; i++)
		if (n->ips[i].at.a.family == family)
			a = &n->ips[i];
	if (!a) {
		hoy_jw_null(w, family == AF_INET ? "container_ip_v4" : "container_ip_v6");
		hoy_jw_null(w, family == AF_INET ? "subnet_v4" : "subnet_v6");
		return;
	}
	hoy_jw_string(w, family == AF_INET ? "container_ip_v4" : "container_ip_v6", addr_text(&a->at.a, text));
	hoy_jw_string(w, family == AF_INET ? "subnet_v4" : "subnet_v6", prefix_text(&a->of->net, text));
}

static void gateways(const struct network *n, struct hoy_jw *w)
{
	char text[ADDR_TEXT];

	for (size_t i = 0; i < n->n_subnets; i++)
		if (n->subnets[i].gateway.family)
			hoy_jw_string(w, NULL, addr_text(&n->subnets[i].gateway, text));
}

static void ports_json(const struct request *r, const struct network *n, const char *hash, struct hoy_buf *b)
{
	struct hoy_jw w = hoy_jw_on(b, NULL);

	hoy_jw_object(&w, NULL);
	hoy_jw_string(&w, "container_id", r->id);
	hoy_jw_string(&w, "network_id", n->id);
	ports_array(r, &w);
	hoy_jw_string(&w, "network_name", n->name);
	hoy_jw_string(&w, "network_hash_name", hash);
	family_json(n, AF_INET, &w);
	family_json(n, AF_INET6, &w);
	hoy_jw_uint(&w, "dns_port", r->dns_port);
	hoy_jw_array(&w, "dns_server_ips");
	gateways(n, &w);
	hoy_jw_end_array(&w);
	hoy_jw_end_object(&w);
}

/*
 * Written above the directories of which `netavark firewall-reload` reads each file, under one name: the lock is held, and
 * what a killed setup left of it is the next one's.
 */
static int put_file(const struct request *r, const char *dir, const char *name, const struct hoy_buf *b, bool replace, struct hoy_err *err)
{
	cleanup_fd int top = open_dir(r, "", err), fd = top < 0 ? -1 : open_dir(r, dir, err);
	int e = b->error ? -b->error : 0;

	if (fd < 0)
		return -err->code;
	if (!e && !replace && hoy_exists(fd, name))
		return 0;
	if (!e)
		e = hoy_replace_locked(top, "hoy", b->data, b->len, 0644, false);
	if (!e && renameat(top, "hoy", fd, name) < 0)
		e = -errno;
	return e < 0 ? hoy_fail_errno(err, -e, "cannot write '%s/firewall/%s/%s'", r->config, dir, name) : 0;
}

int state_write(const struct request *r, const struct network *n, struct hoy_err *err)
{
	cleanup_buf struct hoy_buf net = HOY_BUF_INIT(HOY_BUF_OURS), ports = HOY_BUF_INIT(HOY_BUF_OURS), driver = HOY_BUF_INIT(64);
	cleanup_free char *name = hoy_asprintf("%s_%s", n->id, r->id);
	char hash[14];
	int e;

	if (!name)
		return hoy_fail_oom(err);
	sha512_hex(n->name, strlen(n->name), hash, sizeof(hash));
	hoy_buf_puts(&driver, "nftables");
	network_json(r, n, hash, &net);
	ports_json(r, n, hash, &ports);
	e = put_file(r, "", "firewall-driver", &driver, false, err);
	if (!e)
		e = put_file(r, "networks", n->id, &net, false, err);
	return e ? e : put_file(r, "ports", name, &ports, true, err);
}

void state_remove(const struct request *r, const struct network *n, bool whole)
{
	cleanup_free char *ports = hoy_asprintf("%s/firewall/ports/%s_%s", r->config, n->id, r->id ? r->id : "");
	cleanup_free char *net = hoy_asprintf("%s/firewall/networks/%s", r->config, n->id);

	if (ports && r->id)
		unlink(ports);
	if (net && whole)
		unlink(net);
}

/* ---- netavark's StatusBlock for each network ---- */

static void status_addresses(const struct network *n, struct hoy_jw *w)
{
	char text[ADDR_TEXT];

	hoy_jw_array(w, "subnets");
	for (size_t i = 0; i < n->n_ips; i++) {
		const struct address *a = &n->ips[i];

		hoy_jw_object(w, NULL);
		if (a->of->gateway.family)
			hoy_jw_string(w, "gateway", addr_text(&a->of->gateway, text));
		else
			hoy_jw_null(w, "gateway");
		hoy_jw_string(w, "ipnet", prefix_text(&a->at, text));
		hoy_jw_end_object(w);
	}
	hoy_jw_end_array(w);
}

static void status_network(const struct request *r, const struct network *n, struct hoy_jw *w)
{
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5]);
	hoy_jw_object(w, n->name);
	hoy_jw_array(w, "dns_search_domains");
	if (n->dns)
		hoy_jw_string(w, NULL, "dns.podman");
	hoy_jw_end_array(w);
	hoy_jw_array(w, "dns_server_ips");
	if (n->dns)
		gateways(n, w);
	else
		HOY_JSON_EACH(it, hoy_json_is(r->dns_servers, HOY_JSON_ARRAY) ? r->dns_servers : NULL)
			hoy_jw_value(w, NULL, it);
	hoy_jw_end_array(w);
	hoy_jw_object(w, "interfaces");
	hoy_jw_object(w, n->ifname);
	hoy_jw_string(w, "mac_address", mac);
	status_addresses(n, w);
	hoy_jw_end_object(w);
	hoy_jw_end_object(w);
	hoy_jw_end_object(w);
}

void status_write(const struct request *r, struct hoy_buf *out)
{
	struct hoy_jw w = hoy_jw_on(out, NULL);

	hoy_jw_object(&w, NULL);
	for (size_t i = 0; i < r->n_nets; i++)
		status_network(r, &r->nets[i], &w);
	hoy_jw_end_object(&w);
	hoy_buf_putc(out, '\n');
}
