/*
 * cmd-net/firewall.c: netavark's rules, one for one: what one of us has set up, the other one recognises and takes down. (Map
 * elements would be found faster, but netavark would leave them, and a stale one sends a host port to nowhere.)
 *
 * Setup adds what is missing, so it also repairs a table that somebody has flushed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/net.h"
#include "cmd-net/nft.h"
#include "common/base/err.h"

#define DNAT "NETAVARK-HOSTPORT-DNAT"
#define SETMARK "NETAVARK-HOSTPORT-SETMARK"
#define ISOLATION "NETAVARK-ISOLATION-"

#define CT_INVALID 1
#define CT_ESTABLISHED 2
#define CT_RELATED 4

static const struct {
	const char *name, *type;
	unsigned hook;
	int priority;
} chains[] = {
	{ "INPUT", "filter", NF_INET_LOCAL_IN, 0 },
	{ "FORWARD", "filter", NF_INET_FORWARD, 0 },
	{ "POSTROUTING", "nat", NF_INET_POST_ROUTING, 100 },
	{ "PREROUTING", "nat", NF_INET_PRE_ROUTING, -100 },
	{ "OUTPUT", "nat", NF_INET_LOCAL_OUT, -100 },
	{ DNAT, NULL, 0, 0 },
	{ SETMARK, NULL, 0, 0 },
	{ ISOLATION "1", NULL, 0, 0 },
	{ ISOLATION "2", NULL, 0, 0 },
	{ ISOLATION "3", NULL, 0, 0 },
};

/* Those of every network. */
static const struct nft_rule base[] = {
	{ .chain = "POSTROUTING", .marked = true, .verdict = NFT_V_MASQUERADE },
	{ .chain = SETMARK, .verdict = NFT_V_SETMARK },
	{ .chain = "PREROUTING", .local = true, .verdict = NFT_V_JUMP, .target = DNAT },
	{ .chain = "OUTPUT", .local = true, .verdict = NFT_V_JUMP, .target = DNAT },
	{ .chain = "FORWARD", .ct_state = CT_INVALID, .verdict = NFT_V_DROP },
	{ .chain = "FORWARD", .verdict = NFT_V_JUMP, .target = ISOLATION "1" },
};

static void chain_name(const struct network *n, const struct prefix *p, const char *suffix, char buf[NFT_CHAIN_SIZE])
{
	char text[ADDR_TEXT];
	int len = snprintf(buf, NFT_CHAIN_SIZE, "nv_%.8s_", n->id);

	for (const char *c = prefix_text(p, text); *c; c++)
		len += snprintf(buf + len, NFT_CHAIN_SIZE - len, "%.*s", *c == '/' ? 3 : 1,
				*c == '.' ? "_" : *c == ':' ? "-" : *c == '/' ? "_nm" : c);
	snprintf(buf + len, NFT_CHAIN_SIZE - len, "%s", suffix);
}

/* What is done with each rule: setup adds it if it is missing, teardown deletes it. */
struct way {
	struct nft *t;
	struct nft_batch *b;
	void (*act)(const struct way *w, const struct nft_rule *r);
	const struct network *n;
};

static void add(const struct way *w, const struct nft_rule *r)
{
	const struct nft_rule *it = NULL;

	while ((it = nft_next(w->t, r->chain, r->port, it)))
		if (nft_same(it, r))
			return;
	nft_put_rule(w->b, r);
}

static void delete(const struct way *w, const struct nft_rule *r)
{
	const struct nft_rule *it = NULL;

	/* It may be there more than once. */
	while ((it = nft_next(w->t, r->chain, r->port, it)))
		if (nft_same(it, r))
			nft_put_delete(w->b, it);
}

/* ---- the network ---- */

static void isolation_rules(const struct way *w)
{
	struct nft_rule from = { .chain = ISOLATION "1", .oif_not = true, .verdict = NFT_V_JUMP };
	struct nft_rule to = { .chain = ISOLATION "2", .verdict = NFT_V_DROP };
	struct nft_rule last = { .chain = ISOLATION "3", .verdict = NFT_V_JUMP, .target = ISOLATION "2" };

	snprintf(from.iif, sizeof(from.iif), "%s", w->n->bridge);
	snprintf(from.oif, sizeof(from.oif), "%s", w->n->bridge);
	snprintf(to.oif, sizeof(to.oif), "%s", w->n->bridge);
	if (w->n->isolate == ISOLATE_NEVER) {
		strcpy(to.chain, ISOLATION "3");
		to.first = true; /* the jump stays the last one */
		w->act(w, &to);
	} else {
		strcpy(from.target, w->n->isolate == ISOLATE_STRICT ? ISOLATION "3" : ISOLATION "2");
		w->act(w, &from);
		w->act(w, &to);
	}
	w->act(w, &last);
}

static bool masquerades(const struct nft *t, const char *chain)
{
	const struct nft_rule *it = NULL;

	while ((it = nft_next(t, chain, 0, it)))
		if (it->verdict == NFT_V_MASQUERADE)
			return true;
	return false;
}

static void subnet_rules(const struct way *w, const struct prefix *p)
{
	static const struct prefix multicast4 = { { AF_INET, { 224 } }, 4 }, multicast6 = { { AF_INET6, { 0xff } }, 8 };
	struct nft_rule own = { .to = *p, .verdict = NFT_V_ACCEPT };
	struct nft_rule masquerade = { .to = p->a.family == AF_INET ? multicast4 : multicast6, .to_not = true, .verdict = NFT_V_MASQUERADE };
	struct nft_rule dns = { .chain = "INPUT", .from = *p, .dns = true, .port = 53, .port_end = 53, .verdict = NFT_V_ACCEPT };
	struct nft_rule answers = { .chain = "FORWARD", .to = *p, .ct_state = CT_ESTABLISHED | CT_RELATED, .verdict = NFT_V_ACCEPT };
	struct nft_rule out = { .chain = "FORWARD", .from = *p, .verdict = NFT_V_ACCEPT };
	struct nft_rule nat = { .chain = "POSTROUTING", .from = *p, .verdict = NFT_V_JUMP };

	chain_name(w->n, p, "", own.chain);
	strcpy(masquerade.chain, own.chain);
	strcpy(nat.target, own.chain);
	w->act(w, &own);
	/* netavark writes ::/8 where it means ff00::/8: as good. */
	if (!masquerades(w->t, own.chain))
		w->act(w, &masquerade);
	w->act(w, &dns);
	w->act(w, &answers);
	w->act(w, &out);
	w->act(w, &nat);
}

static void put_chains(struct nft_batch *b, const struct network *n, bool ports)
{
	char name[NFT_CHAIN_SIZE];

	nft_put_table(b);
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		nft_put_chain(b, chains[i].name, chains[i].type, chains[i].hook, chains[i].priority);
	for (size_t i = 0; i < n->n_subnets; i++) {
		chain_name(n, &n->subnets[i].net, "", name);
		nft_put_chain(b, name, NULL, 0, 0);
	}
	for (size_t i = 0; i < n->n_ips && ports; i++) {
		chain_name(n, &n->ips[i].of->net, "_dnat", name);
		nft_put_chain(b, name, NULL, 0, 0);
	}
}

/* ---- the ports ---- */

struct port_way {
	struct way w;
	const struct address *to;
	char chain[NFT_CHAIN_SIZE];
};

/* The caller has this port now: whoever had it is gone, and was not taken down. */
static void delete_stale(const struct way *w, const struct nft_rule *r)
{
	const struct nft_rule *it = NULL;

	while ((it = nft_next(w->t, r->chain, r->port, it)))
		if (it->verdict == NFT_V_DNAT && nft_same_match(it, r) && !nft_same(it, r))
			nft_put_delete(w->b, it);
}

static void port_targets(const struct port_way *w, const struct port *p, const struct nft_rule *match)
{
	struct nft_rule r = *match;

	strcpy(r.chain, w->chain);
	r.verdict = NFT_V_DNAT;
	r.dnat = w->to->at.a;
	for (unsigned i = 0; i < p->count; i++) {
		r.port = r.port_end = (uint16_t)(p->host + i);
		r.dnat_port = (uint16_t)(p->inner + i);
		if (w->w.act == add)
			delete_stale(&w->w, &r);
		w->w.act(&w->w, &r);
	}
}

static void port_rules(const struct port_way *w, const struct port *p)
{
	static const struct prefix loopback = { { AF_INET, { 127, 0, 0, 1 } }, 32 };
	int family = w->to->at.a.family;
	struct nft_rule match = { .port = (uint16_t)p->host, .port_end = (uint16_t)(p->host + p->count - 1) }, r;

	if ((p->only && p->only != family) || (p->ip.family && p->ip.family != family))
		return;
	match.proto = !strcmp(p->proto, "tcp") ? IPPROTO_TCP : !strcmp(p->proto, "udp") ? IPPROTO_UDP : IPPROTO_SCTP;
	if (p->ip.family)
		match.to = (struct prefix){ p->ip, (unsigned)addr_size(&p->ip) * 8 };
	r = match;
	r.verdict = NFT_V_JUMP;
	strcpy(r.chain, DNAT);
	strcpy(r.target, w->chain);
	w->w.act(&w->w, &r);
	/* Hairpin and loopback: the container must see an address that it can answer. */
	strcpy(r.chain, w->chain);
	strcpy(r.target, SETMARK);
	r.from = w->to->of->net;
	w->w.act(&w->w, &r);
	if (family == AF_INET) {
		r.from = loopback;
		w->w.act(&w->w, &r);
	}
	port_targets(w, p, &match);
}

/* The first address of each family gets the ports. */
static void all_ports(const struct way *w, const struct request *r)
{
	bool done[2] = { false, false };

	for (size_t i = 0; i < w->n->n_ips; i++) {
		struct port_way pw = { .w = *w, .to = &w->n->ips[i] };
		bool *d = &done[pw.to->at.a.family == AF_INET6];

		if (*d)
			continue;
		*d = true;
		chain_name(w->n, &pw.to->of->net, "_dnat", pw.chain);
		for (size_t p = 0; p < r->n_ports; p++)
			port_rules(&pw, &r->ports[p]);
	}
}

/* ---- setup and teardown ---- */

static void make_setup(struct nft *t, struct nft_batch *b, const struct request *r, const struct network *n)
{
	struct way w = { t, b, add, n };

	/* Chains come first in a transaction, and are not worth one of their own. */
	put_chains(b, n, r->n_ports > 0);
	b->changes = 0;
	for (size_t i = 0; i < ARRAY_SIZE(base); i++)
		add(&w, &base[i]);
	isolation_rules(&w);
	for (size_t i = 0; i < n->n_subnets; i++)
		subnet_rules(&w, &n->subnets[i].net);
	all_ports(&w, r);
}

/* Does RULE speak of this network's subnets, chains or bridge, outside of its own chains? */
static bool of_network(const struct nft_rule *rule, const struct network *n)
{
	char nat[NFT_CHAIN_SIZE], dnat[NFT_CHAIN_SIZE];

	if (!strncmp(rule->chain, ISOLATION, strlen(ISOLATION)))
		return !strcmp(rule->iif, n->bridge) || !strcmp(rule->oif, n->bridge);
	for (size_t i = 0; i < n->n_subnets && strncmp(rule->chain, "nv_", 3); i++) {
		const struct prefix *p = &n->subnets[i].net;

		chain_name(n, p, "", nat);
		chain_name(n, p, "_dnat", dnat);
		if (!strcmp(rule->target, nat) || !strcmp(rule->target, dnat))
			return true;
		if ((rule->from.bits == p->bits && prefix_holds(p, &rule->from.a)) || (rule->to.bits == p->bits && prefix_holds(p, &rule->to.a)))
			return true;
	}
	return false;
}

static void make_removal(struct nft *t, struct nft_batch *b, const struct network *n)
{
	static const char *const suffixes[] = { "", "_dnat" };
	char name[NFT_CHAIN_SIZE];

	for (size_t i = 0; i < t->n_rules; i++)
		if (of_network(&t->rules[i], n))
			nft_put_delete(b, &t->rules[i]);
	for (size_t i = 0; i < n->n_subnets * 2; i++) {
		chain_name(n, &n->subnets[i / 2].net, suffixes[i % 2], name);
		if (nft_has_chain(t, name))
			nft_put_delete_chain(b, name);
	}
}

enum deed { SETUP, TEARDOWN, REMOVAL };

/* Whoever changes the rules between our reading and writing takes no lock of ours: then read again. */
static int change(const struct request *r, const struct network *n, enum deed deed, struct hoy_err *err)
{
	struct nft t;
	int e = nft_open(&t);

	for (int tries = 0; !e && tries < 50; tries++) {
		struct nft_batch b = NFT_BATCH_INIT;
		struct way w = { &t, &b, delete, n };

		e = nft_read(&t);
		if (!e && deed == SETUP)
			make_setup(&t, &b, r, n);
		else if (!e && deed == TEARDOWN)
			all_ports(&w, r);
		else if (!e)
			make_removal(&t, &b, n);
		if (!e)
			e = nft_commit(&t, &b);
		hoy_buf_release(&b.buf);
		if (e != -ERESTART)
			break;
		e = tries < 49 ? 0 : -EBUSY;
	}
	nft_close(&t);
	return e < 0 ? hoy_fail_errno(err, -e, "network %s: cannot %s nft rules", n->name, deed == SETUP ? "add" : "delete") : 0;
}

int firewall_setup(const struct request *r, struct network *n, struct hoy_err *err)
{
	int e = change(r, n, SETUP, err);

	n->made_rules = !e;
	return e;
}

int firewall_teardown(const struct request *r, const struct network *n, bool whole, struct hoy_err *err)
{
	/* Without ports nothing there is this container's own. */
	if (!whole && !r->n_ports)
		return 0;
	return change(r, n, whole ? REMOVAL : TEARDOWN, err);
}
