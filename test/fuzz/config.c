/*
 * The configuration, as somebody wrote it.
 */
#include "fuzz.h"

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct buf text_of_file;
    struct config config;
    struct err_text text = {""};
    taint(&config, sizeof(config));
    buf_init(&text_of_file, CONFIG_FILE_MAX);
    CHECK(len == 0 || buf_add(&text_of_file, bytes, len) == 0);
    if (config_parse("c.ini", &text_of_file, &config, &text) != 0) {
        CHECK(is_tainted(&config, sizeof(config)));
        CHECK(strncmp(text.text, "c.ini:", 6) == 0);
    } else {
        CHECK(config.log_level >= LOG_ERROR && config.log_level < LOG_LEVEL_COUNT);
        CHECK(config.spend_deadline_ms >= 1000 && config.spend_deadline_ms <= 300000);
        CHECK(config.ask_deadline_ms >= 1000 && config.ask_deadline_ms <= 300000);
        CHECK(config.spender_idle_ms >= 100 && config.spender_idle_ms <= 3600000);
        CHECK(config.profiles_max >= 1 && config.profiles_max <= 4096);
    }
    buf_release(&text_of_file);
    return 0;
}
