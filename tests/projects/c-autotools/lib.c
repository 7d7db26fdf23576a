const char *greeting(void);

const char *greeting(void)
{
	return "greetings from a shared library";
}
