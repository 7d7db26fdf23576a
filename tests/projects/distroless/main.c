#include <stdio.h>
#include <unistd.h>

int main(void)
{
	printf("root is %s\n", access("/bin/sh", F_OK) ? "small" : "large");
	return 0;
}
