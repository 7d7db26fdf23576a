/* cmd-net/nft.c: reading the table's rules, and changing them in one transaction that nobody else's change can slip into. */
#include "cmd-net/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int nft_open(struct nft *t)
{
	memset(t, 0, sizeof(*t));
	t->sock = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!t->sock || mnl_socket_bind(t->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	return 0;
}

void nft_close(struct nft *t)
{
	if (t->sock)
		mnl_socket_close(t->sock);
	free(t->rules);
	memset(t, 0, sizeof(*t));
}

/* ---- reading ---- */

static struct nlmsghdr *request(struct nft *t, char *buf, unsigned type, unsigned flags, int family)
{
	struct nlmsghdr *n = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;

	n->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	n->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	n->nlmsg_seq = ++t->seq;
	g = mnl_nlmsg_put_extra_header(n, sizeof(*g));
	g->nfgen_family = (uint8_t)family;
	g->version = NFNETLINK_V0;
	return n;
}

/* One answer, or the messages of a dump; -EINTR if the rules changed under it. */
static int ask(struct nft *t, const struct nlmsghdr *q, void (*cb)(struct nft *, const struct nlmsghdr *))
{
	static char in[1 << 16];
	bool interrupted = false;

	if (mnl_socket_sendto(t->sock, q, q->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t got = mnl_socket_recvfrom(t->sock, in, sizeof(in));
		const struct nlmsghdr *n;
		int len = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		for (n = (struct nlmsghdr *)in; mnl_nlmsg_ok(n, len); n = mnl_nlmsg_next(n, &len)) {
			if (n->nlmsg_seq != q->nlmsg_seq)
				continue;
			interrupted |= !!(n->nlmsg_flags & NLM_F_DUMP_INTR);
			if (n->nlmsg_type == NLMSG_DONE)
				return interrupted ? -EINTR : 0;
			if (n->nlmsg_type == NLMSG_ERROR)
				return ((const struct nlmsgerr *)mnl_nlmsg_get_payload(n))->error;
			cb(t, n);
			if (!(n->nlmsg_flags & NLM_F_MULTI))
				return 0;
		}
	}
}

static void take_generation(struct nft *t, const struct nlmsghdr *n)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, n, sizeof(struct nfgenmsg))
		if (mnl_attr_get_type(a) == NFTA_GEN_ID)
			t->generation = ntohl(mnl_attr_get_u32(a));
}

static void take_rule(struct nft *t, const struct nlmsghdr *n)
{
	if (t->n_rules == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		struct nft_rule *more = reallocarray(t->rules, cap, sizeof(*more));

		if (!more) {
			t->error = -ENOMEM;
			return;
		}
		t->rules = more;
		t->cap = cap;
	}
	nft_decode(n, &t->rules[t->n_rules++]);
}

static int order(const char *chain, uint16_t port, const struct nft_rule *r)
{
	int c = strcmp(chain, r->chain);

	return c ? c : (port > r->port) - (port < r->port);
}

static int by_chain_and_port(const void *a, const void *b)
{
	const struct nft_rule *r = a;

	return order(r->chain, r->port, b);
}

int nft_read(struct nft *t)
{
	char buf[256];
	struct nlmsghdr *n;
	int r = -EINTR;

	for (int tries = 0; r == -EINTR && tries < 20; tries++) {
		t->n_rules = 0;
		r = ask(t, request(t, buf, NFT_MSG_GETGEN, 0, AF_UNSPEC), take_generation);
		if (r < 0)
			return r;
		n = request(t, buf, NFT_MSG_GETRULE, NLM_F_DUMP, NFPROTO_INET);
		mnl_attr_put_strz(n, NFTA_RULE_TABLE, "netavark");
		r = ask(t, n, take_rule);
	}
	if (!r && t->error)
		r = t->error;
	if (!r && t->n_rules)
		qsort(t->rules, t->n_rules, sizeof(*t->rules), by_chain_and_port);
	return r;
}

static void ignore(struct nft *t, const struct nlmsghdr *n) {}

bool nft_has_chain(struct nft *t, const char *chain)
{
	char buf[512];
	struct nlmsghdr *n = request(t, buf, NFT_MSG_GETCHAIN, 0, NFPROTO_INET);

	mnl_attr_put_strz(n, NFTA_CHAIN_TABLE, "netavark");
	mnl_attr_put_strz(n, NFTA_CHAIN_NAME, chain);
	return ask(t, n, ignore) == 0;
}

const struct nft_rule *nft_next(const struct nft *t, const char *chain, uint16_t port, const struct nft_rule *last)
{
	size_t lo = last ? (size_t)(last - t->rules) + 1 : 0, hi = last ? lo : t->n_rules;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (order(chain, port, &t->rules[mid]) > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < t->n_rules && !order(chain, port, &t->rules[lo]) ? &t->rules[lo] : NULL;
}

static bool same_prefix(const struct prefix *a, const struct prefix *b)
{
	return a->a.family == b->a.family && (!a->a.family || (a->bits == b->bits && !memcmp(a->a.b, b->a.b, addr_size(&a->a))));
}

bool nft_same_match(const struct nft_rule *a, const struct nft_rule *b)
{
	return !a->other && !b->other && same_prefix(&a->from, &b->from) && same_prefix(&a->to, &b->to) && a->to_not == b->to_not &&
	       a->port == b->port && a->port_end == b->port_end && a->proto == b->proto && a->dns == b->dns && a->marked == b->marked &&
	       a->local == b->local && a->ct_state == b->ct_state && !strcmp(a->iif, b->iif) && !strcmp(a->oif, b->oif) &&
	       a->oif_not == b->oif_not;
}

bool nft_same(const struct nft_rule *a, const struct nft_rule *b)
{
	if (a->verdict != b->verdict || strcmp(a->chain, b->chain) || strcmp(a->target, b->target) || !nft_same_match(a, b))
		return false;
	return a->verdict != NFT_V_DNAT || (a->dnat.family == b->dnat.family && a->dnat_port == b->dnat_port &&
					    !memcmp(a->dnat.b, b->dnat.b, addr_size(&a->dnat)));
}

/* ---- writing ---- */

static void put_frame(struct nft *t, struct hoy_buf *out, const struct nft_batch *b, bool begin)
{
	char buf[64];
	struct nlmsghdr *n = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g;

	n->nlmsg_type = begin ? NFNL_MSG_BATCH_BEGIN : NFNL_MSG_BATCH_END;
	n->nlmsg_flags = NLM_F_REQUEST;
	n->nlmsg_seq = begin ? 0 : b->seq + 1;
	g = mnl_nlmsg_put_extra_header(n, sizeof(*g));
	g->nfgen_family = AF_UNSPEC;
	g->version = NFNETLINK_V0;
	g->res_id = htons(NFNL_SUBSYS_NFTABLES);
	if (begin)
		mnl_attr_put_u32(n, NFNL_BATCH_GENID, htonl(t->generation));
	hoy_buf_add(out, buf, MNL_ALIGN(n->nlmsg_len));
}

/* The kernel has carried it out, or not, when the sending returns: errors are there already. */
static int errors(struct nft *t)
{
	static char in[1 << 16];
	int r = 0, fd = mnl_socket_get_fd(t->sock);

	for (;;) {
		ssize_t got = recv(fd, in, sizeof(in), MSG_DONTWAIT);
		const struct nlmsghdr *n;
		int len = (int)got;

		if (got < 0 && errno == EINTR)
			continue;
		/* More errors than fit are errors. */
		if (got < 0)
			return r || errno == EAGAIN ? r : -errno;
		for (n = (struct nlmsghdr *)in; mnl_nlmsg_ok(n, len); n = mnl_nlmsg_next(n, &len))
			if (n->nlmsg_type == NLMSG_ERROR && !r)
				r = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(n))->error;
	}
}

int nft_commit(struct nft *t, struct nft_batch *b)
{
	cleanup_buf struct hoy_buf out = HOY_BUF_INIT(HOY_BUF_OURS);
	int size, fd = mnl_socket_get_fd(t->sock);

	if (!b->changes)
		return 0;
	put_frame(t, &out, b, true);
	hoy_buf_add(&out, b->buf.data, b->buf.len);
	put_frame(t, &out, b, false);
	if (b->buf.error || out.error)
		return -ENOMEM;
	size = (int)out.len + 65536;
	if (out.len > 100000)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (mnl_socket_sendto(t->sock, out.data, out.len) < 0)
		return -errno;
	return errors(t);
}
