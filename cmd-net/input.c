/*
 * cmd-net/input.c: netavark's "network options" become a checked struct request. Nothing that passed here can surprise
 * a path, an nft script or the kernel later: names are names, addresses addresses, ports ports.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/net.h"
#include "common/base/err.h"

static bool is(const char *a, const char *b) { return a && !strcmp(a, b); }

/* What the kernel takes as an interface's name, and an nft script can quote. */
static bool good_ifname(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (!n || n > 15 || is(s, ".") || is(s, ".."))
		return false;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 127 || strchr("/:\"\\*%", *s))
			return false;
	return true;
}

/* Part of a file name and of a chain's. */
static bool good_id(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n && n <= 100 && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n && s[0] != '-';
}

static size_t count(const struct hoy_json *node) { return hoy_json_is(node, HOY_JSON_ARRAY) ? node->count : 0; }

static int want_array(const struct hoy_json *obj, const char *key, struct hoy_err *err)
{
	const struct hoy_json *v = hoy_json_get(obj, key);

	if (v && v->type != HOY_JSON_ARRAY && v->type != HOY_JSON_NULL)
		return hoy_fail(err, EINVAL, "'%s' is no list", key);
	return 0;
}

static int parse_number(const struct hoy_json *obj, const char *key, uint64_t max, unsigned absent, unsigned *ret, struct hoy_err *err)
{
	const struct hoy_json *v = hoy_json_get(obj, key);
	uint64_t u = absent;

	if (v && v->type != HOY_JSON_NULL && (!hoy_json_uint64(v, &u) || u > max))
		return hoy_fail(err, EINVAL, "'%s' must be a number from 0 to %u", key, (unsigned)max);
	*ret = (unsigned)u;
	return 0;
}

static int parse_port(const struct hoy_json *p, struct port *ret, struct hoy_err *err)
{
	const char *ip = hoy_json_str(p, "host_ip"), *proto = hoy_json_str(p, "protocol");
	int r;

	ret->json = p;
	ret->proto = !proto || !*proto ? "tcp" : proto;
	if (strcmp(ret->proto, "tcp") && strcmp(ret->proto, "udp") && strcmp(ret->proto, "sctp"))
		return hoy_fail(err, EINVAL, "unknown protocol '%s' of a port", ret->proto);
	r = parse_number(p, "host_port", 65535, 0, &ret->host, err);
	if (!r)
		r = parse_number(p, "container_port", 65535, 0, &ret->inner, err);
	if (!r)
		r = parse_number(p, "range", 65535, 1, &ret->count, err);
	if (r)
		return r;
	ret->count += !ret->count;
	if (!ret->host || !ret->inner || ret->host + ret->count > 65536 || ret->inner + ret->count > 65536)
		return hoy_fail(err, EINVAL, "ports %u to %u, range %u, are not between 1 and 65535", ret->host, ret->inner, ret->count);
	if (ip && *ip && addr_parse(ip, &ret->ip) < 0)
		return hoy_fail(err, EINVAL, "invalid host ip \"%s\" provided for port %u", ip, ret->host);
	if (is(ip, "0.0.0.0") || is(ip, "::")) {
		ret->only = ret->ip.family;
		ret->ip.family = 0;
	}
	return 0;
}

static int parse_ports(struct request *r, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(r->doc.root, "port_mappings");
	int e = want_array(r->doc.root, "port_mappings", err);

	if (e)
		return e;
	r->ports = calloc(count(list) + 1, sizeof(*r->ports));
	if (!r->ports)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(p, count(list) ? list : NULL) {
		e = parse_port(p, &r->ports[r->n_ports++], err);
		if (e)
			return e;
	}
	return 0;
}

static int parse_subnets(struct network *n, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(n->info, "subnets");
	int e = want_array(n->info, "subnets", err);

	if (e)
		return e;
	n->subnets = calloc(count(list) + 1, sizeof(*n->subnets));
	if (!n->subnets)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(s, count(list) ? list : NULL) {
		const char *net = hoy_json_str(s, "subnet"), *gw = hoy_json_str(s, "gateway");
		struct subnet *sub = &n->subnets[n->n_subnets];

		if (prefix_parse(net, &sub->net) < 0)
			return hoy_fail(err, EINVAL, "network %s: '%s' is no subnet", n->name, net ? net : "");
		if (gw && *gw && (addr_parse(gw, &sub->gateway) < 0 || sub->gateway.family != sub->net.a.family))
			return hoy_fail(err, EINVAL, "network %s: '%s' is no gateway for subnet %s", n->name, gw, net);
		sub->net = prefix_network(&sub->net);
		for (size_t i = 0; i < n->n_subnets; i++)
			if (prefix_holds(&n->subnets[i].net, &sub->net.a) || prefix_holds(&sub->net, &n->subnets[i].net.a))
				return hoy_fail(err, EINVAL, "network %s: subnet %s overlaps another one", n->name, net);
		n->six |= sub->net.a.family == AF_INET6;
		n->n_subnets++;
	}
	return 0;
}

static int parse_route_type(const char *t, unsigned char *ret)
{
	static const struct { const char *name; unsigned char type; } types[] = {
		{ "", RTN_UNICAST }, { "unicast", RTN_UNICAST }, { "blackhole", RTN_BLACKHOLE },
		{ "unreachable", RTN_UNREACHABLE }, { "prohibit", RTN_PROHIBIT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (is(t ? t : "", types[i].name)) {
			*ret = types[i].type;
			return 0;
		}
	return -EINVAL;
}

static int parse_routes(struct network *n, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(n->info, "routes");
	int e = want_array(n->info, "routes", err);

	if (e)
		return e;
	n->routes = calloc(count(list) + 1, sizeof(*n->routes));
	if (!n->routes)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(it, count(list) ? list : NULL) {
		const char *to = hoy_json_str(it, "destination"), *via = hoy_json_str(it, "gateway"), *type = hoy_json_str(it, "route_type");
		struct route *r = &n->routes[n->n_routes++];

		if (prefix_parse(to, &r->to) < 0)
			return hoy_fail(err, EINVAL, "network %s: '%s' is no destination of a route", n->name, to ? to : "");
		r->to = prefix_network(&r->to);
		if (parse_route_type(type, &r->type) < 0)
			return hoy_fail(err, EINVAL, "network %s: invalid route type \"%s\"", n->name, type);
		if (via && *via && (addr_parse(via, &r->via) < 0 || r->via.family != r->to.a.family))
			return hoy_fail(err, EINVAL, "network %s: '%s' is no gateway to %s", n->name, via, to);
		if ((r->type == RTN_UNICAST) != !!r->via.family)
			return hoy_fail(err, EINVAL, "network %s: route to %s %s a gateway", n->name, to,
					r->via.family ? "must not have" : "needs");
		e = parse_number(it, "metric", UINT32_MAX, 0, &r->metric, err);
		if (e)
			return e;
	}
	return 0;
}

static int parse_ips(struct network *n, struct hoy_err *err)
{
	const struct hoy_json *list = hoy_json_get(n->opts, "static_ips");
	int e = want_array(n->opts, "static_ips", err);

	if (e)
		return e;
	n->ips = calloc(count(list) + 1, sizeof(*n->ips));
	if (!n->ips)
		return hoy_fail_oom(err);
	/* In the order of the subnets, as netavark reports them. */
	for (size_t i = 0; i < n->n_subnets; i++)
		HOY_JSON_EACH(it, count(list) ? list : NULL) {
			struct address *ip = &n->ips[n->n_ips];

			if (addr_parse(hoy_json_text(it), &ip->at.a) < 0)
				return hoy_fail(err, EINVAL, "network %s: '%s' is no address", n->name, hoy_json_text(it) ?: "");
			if (n->n_ips < count(list) && prefix_holds(&n->subnets[i].net, &ip->at.a)) {
				ip->at.bits = n->subnets[i].net.bits;
				ip->of = &n->subnets[i];
				n->n_ips++;
			}
		}
	if (n->n_subnets && n->n_ips != count(list))
		return hoy_fail(err, EINVAL, "network %s: not all static IPs matched a subnet: expected %zu, got %zu", n->name, count(list), n->n_ips);
	return 0;
}

static int parse_mac(struct network *n, const char *text, struct hoy_err *err)
{
	const char *p = text;

	for (int i = 0; i < 6; i++) {
		char *end;
		unsigned long v = strchr("0123456789abcdefABCDEF", *p) && *p ? strtoul(p, &end, 16) : 256;

		if (v > 255 || end - p > 2 || (i < 5 ? *end != ':' && *end != '-' : *end))
			return hoy_fail(err, EINVAL, "unable to parse mac address '%s'", text);
		n->mac[i] = (unsigned char)v;
		p = end + 1;
	}
	n->has_mac = true;
	return 0;
}

static int option_number(const struct network *n, const char *key, uint32_t max, uint32_t *ret, struct hoy_err *err)
{
	const char *v = hoy_json_str(hoy_json_get(n->info, "options"), key);
	unsigned long long u;
	char *end;

	if (!v)
		return 0;
	errno = 0;
	u = strtoull(v, &end, 10);
	if (*v < '0' || *v > '9' || *end || errno || u > max)
		return hoy_fail(err, EINVAL, "network %s: unable to parse \"%s\": '%s' is not between 0 and %u", n->name, key, v, max);
	*ret = (uint32_t)u;
	return 0;
}

/* An option that we do not know might be what keeps somebody out: no guessing. */
static int parse_options(struct network *n, struct hoy_err *err)
{
	static const char *const known[] = { "mtu", "isolate", "metric", "mode", "no_default_route", "vlan", "com.docker.network.bridge.name",
					     "com.docker.network.driver.mtu", NULL };
	const struct hoy_json *o = hoy_json_get(n->info, "options");
	const char *isolate = hoy_json_str(o, "isolate"), *mode = hoy_json_str(o, "mode"), *nodef = hoy_json_str(o, "no_default_route");
	uint32_t vlan = 0;
	int r;

	HOY_JSON_EACH(it, hoy_json_is(o, HOY_JSON_OBJECT) ? o : NULL) {
		size_t i = 0;

		while (known[i] && strcmp(known[i], it->key))
			i++;
		if (!known[i])
			return hoy_fail(err, HOY_EUNSUPPORTED, "network %s: option '%s' is not supported", n->name, it->key);
	}
	n->metric = 100;
	r = option_number(n, "mtu", 65535, &n->mtu, err);
	if (!r)
		r = option_number(n, "metric", UINT32_MAX, &n->metric, err);
	if (!r)
		r = option_number(n, "vlan", 4094, &vlan, err);
	if (r)
		return r;
	n->vlan = vlan;
	if (isolate && strcmp(isolate, "true") && strcmp(isolate, "false") && strcmp(isolate, "strict"))
		return hoy_fail(err, EINVAL, "network %s: invalid isolate option \"%s\"", n->name, isolate);
	n->isolate = is(isolate, "strict") ? ISOLATE_STRICT : is(isolate, "true") ? ISOLATE_NORMAL : ISOLATE_NEVER;
	if (mode && *mode && strcmp(mode, "managed") && strcmp(mode, "unmanaged"))
		return hoy_fail(err, EINVAL, "network %s: invalid bridge mode \"%s\"", n->name, mode);
	n->unmanaged = is(mode, "unmanaged");
	if (nodef && strcmp(nodef, "true") && strcmp(nodef, "false"))
		return hoy_fail(err, EINVAL, "network %s: unable to parse \"no_default_route\": '%s'", n->name, nodef);
	n->no_default_route = is(nodef, "true");
	return 0;
}

static int parse_info(struct network *n, struct hoy_err *err)
{
	const char *driver = hoy_json_str(n->info, "driver"), *ipam = hoy_json_str(hoy_json_get(n->info, "ipam_options"), "driver");
	int r;

	n->id = hoy_json_str(n->info, "id");
	n->bridge = hoy_json_str(n->info, "network_interface");
	n->internal = hoy_json_bool(n->info, "internal", false);
	n->dns = hoy_json_bool(n->info, "dns_enabled", false);
	if (!is(driver, "bridge"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "network %s: driver '%s' is not supported (only bridge is)", n->name, driver ? driver : "");
	if (!good_id(n->id))
		return hoy_fail(err, EINVAL, "network %s: invalid id '%s'", n->name, n->id ? n->id : "");
	if (!n->bridge || !*n->bridge)
		return hoy_fail(err, EINVAL, "network %s: no bridge interface name given", n->name);
	if (!good_ifname(n->bridge))
		return hoy_fail(err, EINVAL, "network %s: '%s' is no interface name", n->name, n->bridge);
	if (ipam && strcmp(ipam, "host-local") && strcmp(ipam, "none"))
		return hoy_fail(err, HOY_EUNSUPPORTED, "network %s: ipam driver '%s' is not supported", n->name, ipam);
	r = parse_options(n, err);
	if (!r)
		r = parse_subnets(n, err);
	if (!r)
		r = parse_routes(n, err);
	if (!r && is(ipam, "none"))
		n->n_subnets = n->n_routes = 0;
	return r;
}

static int parse_network(struct request *r, const struct hoy_json *opts, struct network *n, bool setup, struct hoy_err *err)
{
	const struct hoy_json *host = hoy_json_get(hoy_json_get(opts, "options"), "host_interface_name");
	const char *mac = hoy_json_str(opts, "static_mac");
	int e;

	n->name = opts->key;
	n->opts = opts;
	n->info = hoy_json_get(hoy_json_get(r->doc.root, "network_info"), n->name);
	n->ifname = hoy_json_str(opts, "interface_name");
	n->host_ifname = hoy_json_text(host);
	if (!n->info)
		return hoy_fail(err, EINVAL, "network info for network %s not found", n->name);
	if (!n->ifname || !*n->ifname)
		return hoy_fail(err, EINVAL, "network %s: no container interface name given", n->name);
	if (!good_ifname(n->ifname))
		return hoy_fail(err, EINVAL, "network %s: '%s' is no interface name", n->name, n->ifname);
	if (host && !good_ifname(n->host_ifname))
		return hoy_fail(err, EINVAL, "network %s: '%s' is no interface name", n->name, n->host_ifname ? n->host_ifname : "");
	HOY_JSON_EACH(it, hoy_json_get(opts, "options"))
		if (strcmp(it->key, "host_interface_name"))
			return hoy_fail(err, HOY_EUNSUPPORTED, "network %s: option '%s' is not supported", n->name, it->key);
	e = parse_info(n, err);
	if (!e && mac && *mac)
		e = parse_mac(n, mac, err);
	if (!e && setup && n->n_subnets && !hoy_json_get(opts, "static_ips"))
		e = hoy_fail(err, EINVAL, "network %s: no static ips provided", n->name);
	return e ? e : parse_ips(n, err);
}

int request_parse(struct request *r, const char *text, size_t len, bool setup, struct hoy_err *err)
{
	const struct hoy_json *nets;
	int e = hoy_json_parse(&r->doc, text, len, "network options", err);

	if (e)
		return e;
	r->id = hoy_json_str(r->doc.root, "container_id");
	r->name = hoy_json_str(r->doc.root, "container_name") ?: "";
	nets = hoy_json_get(r->doc.root, "networks");
	if (!good_id(r->id))
		return hoy_fail(err, EINVAL, "invalid container_id '%s'", r->id ? r->id : "");
	if (!hoy_json_is(nets, HOY_JSON_OBJECT))
		return hoy_fail(err, EINVAL, "'networks' is missing");
	r->dns_servers = hoy_json_get(r->doc.root, "dns_servers");
	e = want_array(r->doc.root, "dns_servers", err);
	if (!e)
		e = parse_ports(r, err);
	if (e)
		return e;
	r->nets = calloc(nets->count + 1, sizeof(*r->nets));
	if (!r->nets)
		return hoy_fail_oom(err);
	HOY_JSON_EACH(it, nets) {
		e = parse_network(r, it, &r->nets[r->n_nets++], setup, err);
		if (e)
			return e;
	}
	return 0;
}

int request_parse_network(struct request *r, const char *text, size_t len, struct hoy_err *err)
{
	int e = hoy_json_parse(&r->doc, text, len, "network", err);

	if (e)
		return e;
	r->nets = calloc(1, sizeof(*r->nets));
	if (!r->nets)
		return hoy_fail_oom(err);
	r->n_nets = 1;
	r->nets->info = r->doc.root;
	r->nets->name = hoy_json_str(r->doc.root, "name") ?: "";
	return parse_info(r->nets, err);
}

void request_release(struct request *r)
{
	for (size_t i = 0; i < r->n_nets; i++) {
		free(r->nets[i].subnets);
		free(r->nets[i].routes);
		free(r->nets[i].ips);
	}
	free(r->nets);
	free(r->ports);
	hoy_json_release(&r->doc);
}
