/* cmd-net/netlink.c: rtnetlink with several messages per system call. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd-net/net.h"

int nl_open(struct nl *nl)
{
	int one = 1;

	nl->len = 0;
	nl->error = 0;
	nl->note[0] = '\0';
	nl->sock = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	nl->port = mnl_socket_get_portid(nl->sock);
	/* Say why something is invalid, and do not send our own request back. */
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &one, sizeof(one));
	return 0;
}

void nl_close(struct nl *nl)
{
	if (nl->sock)
		mnl_socket_close(nl->sock);
	nl->sock = NULL;
}

struct nlmsghdr *nl_start(struct nl *nl, unsigned type, unsigned flags, size_t hdrlen, void *ret_hdr)
{
	struct nlmsghdr *n;

	/* Full: send what is there, and remember how it went. */
	if (nl->len + 4096 > sizeof(nl->buf))
		nl->error = nl_send(nl);
	n = mnl_nlmsg_put_header(nl->buf + nl->len);
	n->nlmsg_type = (uint16_t)type;
	n->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	n->nlmsg_seq = ++nl->seq;
	*(void **)ret_hdr = mnl_nlmsg_put_extra_header(n, hdrlen);
	return n;
}

void nl_end(struct nl *nl, struct nlmsghdr *n)
{
	n->nlmsg_flags |= NLM_F_ACK;
	nl->len += MNL_ALIGN(n->nlmsg_len);
}

/* The kernel's extended answer is an attribute behind the error. */
static int note_cb(const struct nlattr *attr, void *arg)
{
	struct nl *nl = arg;

	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG)
		snprintf(nl->note, sizeof(nl->note), "%.*s", (int)mnl_attr_get_payload_len(attr), (const char *)mnl_attr_get_payload(attr));
	return MNL_CB_OK;
}

static int error_of(struct nl *nl, const struct nlmsghdr *n)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(n);

	if (n->nlmsg_len < mnl_nlmsg_size(sizeof(*e)))
		return -EBADMSG;
	if (e->error && (n->nlmsg_flags & NLM_F_ACK_TLVS))
		(void)mnl_attr_parse(n, sizeof(*e), note_cb, nl);
	return e->error;
}

/* Send what is there, if anything. */
static int flush(struct nl *nl)
{
	size_t len = nl->len;

	nl->len = 0;
	return len && mnl_socket_sendto(nl->sock, nl->buf, len) < 0 ? -errno : 0;
}

/* One datagram of answers: its length or -errno. */
static int receive(struct nl *nl, char *in, size_t size)
{
	ssize_t got;

	do
		got = mnl_socket_recvfrom(nl->sock, in, size);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : (int)got;
}

int nl_send(struct nl *nl)
{
	char in[8192];
	int r = nl->error, len, sent;
	bool done = !nl->len;

	nl->error = 0;
	sent = flush(nl);
	if (sent < 0)
		return sent;
	while (!done) {
		len = receive(nl, in, sizeof(in));
		if (len < 0)
			return len;
		for (const struct nlmsghdr *n = (struct nlmsghdr *)in; mnl_nlmsg_ok(n, len); n = mnl_nlmsg_next(n, &len)) {
			if (n->nlmsg_type != NLMSG_ERROR)
				continue;
			if (!r)
				r = error_of(nl, n);
			done |= n->nlmsg_seq == nl->seq;
		}
	}
	return r;
}

int nl_ask(struct nl *nl, int (*cb)(const struct nlmsghdr *, void *), void *arg)
{
	char in[32768];
	int len, r = flush(nl);
	bool done = false;

	if (r < 0)
		return r;
	while (!done) {
		len = receive(nl, in, sizeof(in));
		if (len < 0)
			return len;
		for (const struct nlmsghdr *n = (struct nlmsghdr *)in; mnl_nlmsg_ok(n, len); n = mnl_nlmsg_next(n, &len)) {
			if (n->nlmsg_seq != nl->seq)
				continue;
			if (n->nlmsg_type == NLMSG_DONE)
				return r;
			if (n->nlmsg_type == NLMSG_ERROR)
				return error_of(nl, n);
			if (!r)
				r = cb(n, arg);
			done = !(n->nlmsg_flags & NLM_F_MULTI);
		}
	}
	return r;
}
