/*
 * cmd-net/firewall.c: netavark's rules, word for word: what one of us has set up, the other one recognises and takes down. (Map
 * elements would be found faster, but netavark would leave them, and a stale one sends a host port to nowhere.)
 *
 * Setup adds what is missing, so it also repairs a table that somebody has flushed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/net.h"
#include "common/base/err.h"

#define DNAT "NETAVARK-HOSTPORT-DNAT"
#define SETMARK "NETAVARK-HOSTPORT-SETMARK"
#define CHAIN_TEXT 160
#define RULE_TEXT 400

static const char *const chains[][2] = {
	{ "INPUT", " { type filter hook input priority 0; policy accept; }" },
	{ "FORWARD", " { type filter hook forward priority 0; policy accept; }" },
	{ "POSTROUTING", " { type nat hook postrouting priority 100; policy accept; }" },
	{ "PREROUTING", " { type nat hook prerouting priority -100; policy accept; }" },
	{ "OUTPUT", " { type nat hook output priority -100; policy accept; }" },
	{ DNAT, "" },
	{ SETMARK, "" },
	{ "NETAVARK-ISOLATION-1", "" },
	{ "NETAVARK-ISOLATION-2", "" },
	{ "NETAVARK-ISOLATION-3", "" },
};

/* Chain, what such a rule begins with, and the rest. */
static const char *const rules[][3] = {
	{ "POSTROUTING", "meta mark & 0x", "00002000 == 0x00002000 masquerade" },
	{ SETMARK, "meta mark set ", "meta mark | 0x00002000" },
	{ "PREROUTING", "fib daddr type local jump " DNAT, "" },
	{ "OUTPUT", "fib daddr type local jump " DNAT, "" },
	{ "FORWARD", "ct state invalid drop", "" },
	{ "FORWARD", "jump NETAVARK-ISOLATION-1", "" },
};

static const char *family(const struct addr *a) { return a->family == AF_INET6 ? "ip6" : "ip"; }

static void chain_name(const struct network *n, const struct prefix *p, const char *suffix, char buf[CHAIN_TEXT])
{
	char text[ADDR_TEXT];
	int len = snprintf(buf, CHAIN_TEXT, "nv_%.8s_", n->id);

	for (const char *c = prefix_text(p, text); *c && len < CHAIN_TEXT - 16; c++)
		len += snprintf(buf + len, CHAIN_TEXT - len, "%.*s", *c == '/' ? 3 : 1, *c == '.' ? "_" : *c == ':' ? "-" : *c == '/' ? "_nm" : c);
	snprintf(buf + len, CHAIN_TEXT - len, "%s", suffix);
}

/* ---- the network ---- */

static void want(const struct nft *t, struct hoy_buf *b, const char *verb, const char *chain, const char *start, const char *rest)
{
	if (!nft_find(t, chain, start, false))
		hoy_buf_printf(b, "%s rule inet netavark %s %s%s\n", verb, chain, start, rest);
}

static void want_chain(const struct nft *t, struct hoy_buf *b, const char *chain, const char *how)
{
	if (!nft_has_chain(t, chain))
		hoy_buf_printf(b, "add chain inet netavark %s%s\n", chain, how);
}

static void want_isolation(const struct nft *t, struct hoy_buf *b, const struct network *n)
{
	char in[RULE_TEXT], out[RULE_TEXT];

	snprintf(in, sizeof(in), "iifname \"%s\" oifname != \"%s\" jump NETAVARK-ISOLATION-", n->bridge, n->bridge);
	snprintf(out, sizeof(out), "oifname \"%s\" drop", n->bridge);
	if (n->isolate == ISOLATE_NEVER) {
		/* In front: the jump stays the last one. */
		want(t, b, "insert", "NETAVARK-ISOLATION-3", out, "");
	} else {
		want(t, b, "add", "NETAVARK-ISOLATION-1", in, n->isolate == ISOLATE_STRICT ? "3" : "2");
		want(t, b, "add", "NETAVARK-ISOLATION-2", out, "");
	}
	want(t, b, "add", "NETAVARK-ISOLATION-3", "jump NETAVARK-ISOLATION-2", "");
}

/* FORMAT with the family and the subnet ("ip", "10.88.0.0/16"), and what follows in a rule that is not there yet. */
static void want_rule(const struct nft *t, struct hoy_buf *b, const struct prefix *p, const char *chain, const char *format, const char *rest)
{
	char text[RULE_TEXT], net[ADDR_TEXT];

	snprintf(text, sizeof(text), format, family(&p->a), prefix_text(p, net));
	want(t, b, "add", chain, text, rest);
}

static void want_subnet(const struct nft *t, struct hoy_buf *b, const struct network *n, const struct prefix *p)
{
	char chain[CHAIN_TEXT], jump[CHAIN_TEXT + 32];

	chain_name(n, p, "", chain);
	want_chain(t, b, chain, "");
	want_rule(t, b, p, chain, "%s daddr %s accept", "");
	want_rule(t, b, p, chain, "%s daddr != ", p->a.family == AF_INET ? "224.0.0.0/4 masquerade" : "ff00::/8 masquerade");
	want_rule(t, b, p, "INPUT", "%s saddr %s meta l4proto ", "{ tcp, udp } th dport 53 accept");
	want_rule(t, b, p, "FORWARD", "%s daddr %s ct state ", "established,related accept");
	want_rule(t, b, p, "FORWARD", "%s saddr %s accept", "");
	snprintf(jump, sizeof(jump), "%%s saddr %%s jump %s", chain);
	want_rule(t, b, p, "POSTROUTING", jump, "");
}

static void want_network(const struct nft *t, struct hoy_buf *b, const struct network *n)
{
	if (!t->listing)
		hoy_buf_puts(b, "add table inet netavark\n");
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		want_chain(t, b, chains[i][0], chains[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		want(t, b, "add", rules[i][0], rules[i][1], rules[i][2]);
	want_isolation(t, b, n);
	for (size_t i = 0; i < n->n_subnets; i++)
		want_subnet(t, b, n, &n->subnets[i].net);
}

/* ---- the ports ---- */

/* What is done with each rule of a container: setup adds it, teardown deletes it. */
typedef void rule_fn(const struct nft *t, struct hoy_buf *b, const char *chain, const char *text);

static void add_rule(const struct nft *t, struct hoy_buf *b, const char *chain, const char *text)
{
	if (!nft_find(t, chain, text, true))
		hoy_buf_printf(b, "add rule inet netavark %s %s\n", chain, text);
}

static void delete_rule(const struct nft *t, struct hoy_buf *b, const char *chain, const char *text)
{
	const struct nft_rule *r = nft_find(t, chain, text, true);

	/* The same line may be there more than once. */
	for (; r && r < t->rules + t->n_rules && !strcmp(r->chain, chain) && !strcmp(r->text, text); r++)
		hoy_buf_printf(b, "delete rule inet netavark %s handle %llu\n", chain, (unsigned long long)r->handle);
}

/* The caller has this port now: whoever had it is gone, and was not taken down. */
static void delete_stale(const struct nft *t, struct hoy_buf *b, const char *chain, const char *match, const char *text)
{
	const struct nft_rule *r = nft_find(t, chain, match, false);

	for (; r && r < t->rules + t->n_rules && !strcmp(r->chain, chain) && !strncmp(r->text, match, strlen(match)); r++)
		if (strcmp(r->text, text))
			hoy_buf_printf(b, "delete rule inet netavark %s handle %llu\n", chain, (unsigned long long)r->handle);
}

struct port_way {
	const struct nft *t;
	struct hoy_buf *b;
	rule_fn *act;
	const struct address *to;
	char chain[CHAIN_TEXT], subnet[ADDR_TEXT];
};

static void port_targets(const struct port_way *w, const struct port *p, const char *host)
{
	char text[RULE_TEXT], match[RULE_TEXT], at[ADDR_TEXT];
	bool six = w->to->at.a.family == AF_INET6;

	addr_text(&w->to->at.a, at);
	for (unsigned i = 0; i < p->count; i++) {
		snprintf(match, sizeof(match), "%s%s dport %u dnat ", host, p->proto, p->host + i);
		snprintf(text, sizeof(text), "%s%s dport %u dnat %s to %s%s%s:%u", host, p->proto, p->host + i, six ? "ip6" : "ip", six ? "[" : "", at,
			 six ? "]" : "", p->inner + i);
		if (w->act == add_rule)
			delete_stale(w->t, w->b, w->chain, match, text);
		w->act(w->t, w->b, w->chain, text);
	}
}

static void port_rules(const struct port_way *w, const struct port *p)
{
	const char *ip = family(&w->to->at.a);
	char host[RULE_TEXT / 4] = "", range[32], text[RULE_TEXT], at[ADDR_TEXT];

	if ((p->only && p->only != w->to->at.a.family) || (p->ip.family && p->ip.family != w->to->at.a.family))
		return;
	if (p->ip.family)
		snprintf(host, sizeof(host), "%s daddr %s ", ip, addr_text(&p->ip, at));
	snprintf(range, sizeof(range), p->count > 1 ? "%u-%u" : "%u", p->host, p->host + p->count - 1);
	snprintf(text, sizeof(text), "%s%s dport %s jump %s", host, p->proto, range, w->chain);
	w->act(w->t, w->b, DNAT, text);
	/* Hairpin and loopback: the container must see an address that it can answer. */
	snprintf(text, sizeof(text), "%s saddr %s %s%s dport %s jump " SETMARK, ip, w->subnet, host, p->proto, range);
	w->act(w->t, w->b, w->chain, text);
	if (w->to->at.a.family == AF_INET) {
		snprintf(text, sizeof(text), "ip saddr 127.0.0.1 %s%s dport %s jump " SETMARK, host, p->proto, range);
		w->act(w->t, w->b, w->chain, text);
	}
	port_targets(w, p, host);
}

/* The first address of each family gets the ports. */
static void each_port(const struct nft *t, struct hoy_buf *b, const struct request *r, const struct network *n, rule_fn *act)
{
	bool done[2] = { false, false };

	for (size_t i = 0; i < n->n_ips && r->n_ports; i++) {
		struct port_way w = { .t = t, .b = b, .act = act, .to = &n->ips[i] };
		bool *d = &done[w.to->at.a.family == AF_INET6];

		if (*d)
			continue;
		*d = true;
		chain_name(n, &w.to->of->net, "_dnat", w.chain);
		prefix_text(&w.to->of->net, w.subnet);
		if (act == add_rule)
			want_chain(t, b, w.chain, "");
		for (size_t p = 0; p < r->n_ports; p++)
			port_rules(&w, &r->ports[p]);
	}
}

/* ---- the two ways ---- */

/* Between reading and writing somebody may change the table who takes no lock of ours: read again. */
static int change(struct hoy_err *err, void (*make)(const struct nft *, struct hoy_buf *, const void *), const void *arg)
{
	int r = 0;

	for (int tries = 0; tries < 3; tries++) {
		cleanup_buf struct hoy_buf b = HOY_BUF_INIT(HOY_BUF_OURS);
		struct nft t;

		r = nft_read(&t, err);
		if (!r) {
			make(&t, &b, arg);
			r = nft_apply(&t, &b, err);
		}
		nft_close(&t);
		if (r != -ENOENT)
			break;
	}
	return r;
}

struct job {
	const struct request *r;
	const struct network *n;
	bool whole;
};

static void make_setup(const struct nft *t, struct hoy_buf *b, const void *arg)
{
	const struct job *j = arg;

	want_network(t, b, j->n);
	each_port(t, b, j->r, j->n, add_rule);
}

static bool speaks_of(const char *rule, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = rule; (p = strstr(p, word)); p += n)
		if ((p == rule || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

/* All rules outside of the network's own chains that name its subnets, its chains or its bridge. */
static void delete_network(const struct nft *t, struct hoy_buf *b, const struct network *n)
{
	char nat[CHAIN_TEXT], dnat[CHAIN_TEXT], net[ADDR_TEXT], bridge[32];

	snprintf(bridge, sizeof(bridge), "\"%s\"", n->bridge);
	for (size_t i = 0; i < t->n_rules; i++) {
		const struct nft_rule *r = &t->rules[i];
		bool ours = !strncmp(r->chain, "NETAVARK-ISOLATION-", 19) && speaks_of(r->text, bridge);

		for (size_t s = 0; s < n->n_subnets && !ours && strncmp(r->chain, "nv_", 3); s++) {
			chain_name(n, &n->subnets[s].net, "", nat);
			chain_name(n, &n->subnets[s].net, "_dnat", dnat);
			ours = speaks_of(r->text, prefix_text(&n->subnets[s].net, net)) || speaks_of(r->text, nat) || speaks_of(r->text, dnat);
		}
		if (ours)
			hoy_buf_printf(b, "delete rule inet netavark %s handle %llu\n", r->chain, (unsigned long long)r->handle);
	}
	for (size_t s = 0; s < n->n_subnets; s++) {
		chain_name(n, &n->subnets[s].net, "", nat);
		chain_name(n, &n->subnets[s].net, "_dnat", dnat);
		if (nft_has_chain(t, nat))
			hoy_buf_printf(b, "flush chain inet netavark %s\ndelete chain inet netavark %s\n", nat, nat);
		if (nft_has_chain(t, dnat))
			hoy_buf_printf(b, "flush chain inet netavark %s\ndelete chain inet netavark %s\n", dnat, dnat);
	}
}

static void make_teardown(const struct nft *t, struct hoy_buf *b, const void *arg)
{
	const struct job *j = arg;

	if (j->whole)
		delete_network(t, b, j->n);
	else
		each_port(t, b, j->r, j->n, delete_rule);
}

int firewall_setup(const struct request *r, struct network *n, struct hoy_err *err)
{
	struct job j = { r, n, false };
	int e = change(err, make_setup, &j);

	if (e < 0)
		return hoy_fail_prefix(err, "network %s: cannot set up the firewall", n->name);
	n->made_rules = true;
	return 0;
}

int firewall_teardown(const struct request *r, const struct network *n, bool whole, struct hoy_err *err)
{
	struct job j = { r, n, whole };

	if (!whole && !r->n_ports)
		return 0;
	return change(err, make_teardown, &j) < 0 ? hoy_fail_prefix(err, "network %s: cannot take down the firewall", n->name) : 0;
}
