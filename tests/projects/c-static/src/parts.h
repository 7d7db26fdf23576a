int parts(void);
