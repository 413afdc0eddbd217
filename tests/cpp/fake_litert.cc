extern "C" __attribute__((visibility("default"))) int LiteRtCreateOptions(void**) { return 0; }
