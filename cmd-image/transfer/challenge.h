/* cmd-image/transfer/challenge.h: how a registry wants us to log in: WWW-Authenticate, by RFC 9110 (11.6.1) and the distribution's token specification. */
#pragma once

enum auth_kind { AUTH_NONE, AUTH_BASIC, AUTH_BEARER };

struct challenge {
	enum auth_kind kind;
	char *realm, *service; /* of AUTH_BEARER; SERVICE may be NULL */
};
/* What LINE, a header's value with one challenge or several, adds to C: Bearer with a realm is worth more than Basic, the first of a kind more than others. */
void challenge_add(struct challenge *c, const char *line);
/* C is blank afterwards. */
void challenge_release(struct challenge *c);
