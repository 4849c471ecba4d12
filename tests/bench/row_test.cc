// SPDX-License-Identifier: Apache-2.0
#include "qwen3vl/bench/row.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "qwen3vl/bench/command_line.h"
#include "qwen3vl/bench/output.h"
#include "qwen3vl/error.h"

namespace qwen3vl::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

Row MeasuredRow() {
  Row r;
  r.layer = "attention.prefill";
  r.preset = "gpt2";
  r.shape = {{"q_len", 8}, {"kv_len", 16}};
  r.length = 16;
  r.dtype = "f16 cache";
  r.path = "cpu_tiled";
  r.tile = 64;
  r.q_rows = 48;
  r.plan = "says \"why\", and more";
  r.threads = 2;
  r.isa = "avx2";
  r.samples = {0.25, 0.5, 1};
  r.stats = Summarize(r.samples);
  r.flop = 4e9;
  r.bytes = 1e9;
  r.formula = "flop: 4";
  r.tokens = 8;
  r.scratch_bytes = 4096;
  r.peaks = Peaks{16, 20, 8, 10};
  r.round_peaks = {{20, 10, 30}, {16, 8, std::nullopt}, {10, 5, 170}};
  r.accuracy = Accuracy{1e-6, 2e-7, 64, "float64"};
  r.environment = {"0.1.0", "Release", "GNU 12", "-O3", "Some CPU", 4};
  r.before.governor = "powersave";
  r.before.clock_mhz = 2800;
  r.command = "qwen3vl bench layer --preset gpt2";
  return r;
}

Row BareRow() {
  Row r;
  r.layer = "rope";
  r.samples = {2e-6};
  r.stats = Summarize(r.samples);
  return r;
}

size_t Count(const std::string& text, char c) { return static_cast<size_t>(std::ranges::count(text, c)); }

TEST(Row, DerivesRatesAndShares) {
  const Row r = MeasuredRow();
  EXPECT_DOUBLE_EQ(r.Gflops().value(), 8);
  EXPECT_DOUBLE_EQ(r.Gbs().value(), 2);
  EXPECT_DOUBLE_EQ(r.TokensPerSecond().value(), 16);
  EXPECT_DOUBLE_EQ(r.FmaShare().value(), 0.5);
  EXPECT_DOUBLE_EQ(r.ReadShare().value(), 0.25);
  EXPECT_DOUBLE_EQ(r.BestFmaShare().value(), 0.8);
  EXPECT_DOUBLE_EQ(r.BestReadShare().value(), 0.4);
}

// Rounds on a machine that was twice as fast in the first: so were the peaks, and the shares say so.
TEST(Row, SharesCompareEverySampleWithThePeaksOfItsRound) {
  Row r = MeasuredRow();
  r.samples = {0.25, 0.5, 0.5};
  r.stats = Summarize(r.samples);
  r.round_peaks = {{20, 10, 170}, {10, 5, 30}, {10, 5, 30}};
  EXPECT_DOUBLE_EQ(r.FmaShare().value(), 0.8);
  EXPECT_DOUBLE_EQ(r.ReadShare().value(), 0.4);
  r.round_peaks.pop_back();  // not for all samples: medians are compared
  EXPECT_DOUBLE_EQ(r.FmaShare().value(), 0.5);
}

TEST(Row, NotesTellThatCoresMoved) {
  Row r = MeasuredRow();
  EXPECT_THAT(Notes({r}), HasSubstr("30.0 to 170 ns; the threads' cores were moved"));
  r.round_peaks = {{20, 10, 30}, {16, 8, std::nullopt}, {10, 5, 45}};
  EXPECT_THAT(Notes({r}), HasSubstr("30.0 to 45.0 ns\n"));
  r.round_peaks.clear();
  EXPECT_THAT(Notes({r}), Not(HasSubstr("core-to-core latency")));
}

TEST(Row, WhatIsNotMeasuredIsAbsent) {
  const Row r = BareRow();
  EXPECT_FALSE(r.Gflops() || r.Gbs() || r.TokensPerSecond() || r.FmaShare() || r.BestReadShare());
  EXPECT_THAT(ToJsonLine(r), HasSubstr("\"flop\":null"));
  EXPECT_THAT(ToJsonLine(r), HasSubstr("\"accuracy\":null"));
  EXPECT_THAT(Render({r}, OutputFormat::kCsv), HasSubstr("unavailable"));
}

TEST(Row, ComesBackFromJson) {
  const std::vector<Row> rows = {MeasuredRow(), BareRow()};
  EXPECT_EQ(ParseRows(ToJsonDocument(rows), "a"), rows);
  EXPECT_EQ(ParseRows(Render(rows, OutputFormat::kJsonLines), "a"), rows);
  EXPECT_EQ(ParseRows(ToJsonLine(rows[0]), "a"), std::vector<Row>{rows[0]});
}

TEST(Row, RefusesPeaksOfMoreRoundsThanSamples) {
  Row row = MeasuredRow();
  row.round_peaks.emplace_back();
  try {
    ParseRows(ToJsonLine(row), "file.json");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kCorruptFile);
    EXPECT_THAT(e.what(), HasSubstr("file.json: peaks of 4, 4 and 4 rounds, want 3"));
  }
}

TEST(Row, SamplesThatDoNotCountAreKept) {
  Row row = MeasuredRow();
  row.busy_samples = {2, 3};
  const Row back = ParseRows(ToJsonLine(row), "a").at(0);
  EXPECT_EQ(back, row);
  EXPECT_EQ(back.stats.median, 0.5);
  EXPECT_THAT(Notes({row, MeasuredRow()}), HasSubstr("quiet: 3 of 5 samples"));
  EXPECT_THAT(Notes({MeasuredRow()}), Not(HasSubstr("quiet:")));
}

TEST(Row, AResultThatIsNoNumberComesBackAsNone) {
  Row row = MeasuredRow();
  row.accuracy->max_abs = row.accuracy->rel_norm = NAN;
  const Row back = ParseRows(ToJsonLine(row), "a").at(0);
  EXPECT_TRUE(std::isnan(back.accuracy.value().rel_norm));
  EXPECT_TRUE(std::isnan(back.accuracy->max_abs));
  EXPECT_EQ(back.accuracy->checked, row.accuracy->checked);
}

TEST(Row, RejectsOtherFilesInOneLine) {
  for (const char* text : {"", "{}", "[1, 2]", "null", "{\"schema\": 1, \"rows\": []}", "no json",
                           "{\"schema\": 2}", "{\"rows\": [{\"schema\": 99}]}", "{\"rows\": 3}"}) {
    try {
      ParseRows(text, "file.json");
      FAIL() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kCorruptFile);
      EXPECT_THAT(e.what(), HasSubstr("file.json"));
      EXPECT_THAT(e.what(), Not(HasSubstr("\n")));
    }
  }
}

TEST(Output, CsvHasOneCellPerColumn) {
  Row r = MeasuredRow();
  r.plan = "no quotes";
  r.shape = {{"q_len", 8}};
  const std::string text = Render({r}, OutputFormat::kCsv);
  const size_t line = text.find('\n');
  EXPECT_EQ(Count(text.substr(0, line), ','), Count(text.substr(line + 1), ','));
  EXPECT_EQ(Count(text, '\n'), 2u);
}

TEST(Output, CsvKeepsEachShareInItsColumn) {
  Row r = MeasuredRow();
  r.plan = "no quotes";
  r.shape = {{"q_len", 8}};
  const std::string text = Render({r}, OutputFormat::kCsv);
  const auto cell = [&](const std::string& column) {
    const size_t header_end = text.find('\n');
    const auto comma = std::ranges::count(text.substr(0, text.find(column + ",")), ',');
    size_t at = header_end + 1;
    for (auto i = comma; i > 0; --i) at = text.find(',', at) + 1;
    return text.substr(at, text.find(',', at) - at);
  };
  EXPECT_EQ(cell("fma_share"), "0.5");
  EXPECT_EQ(cell("read_share"), "0.25");
  EXPECT_EQ(cell("fma_share_best"), "0.8");
  EXPECT_EQ(cell("read_share_best"), "0.4");
}

TEST(Output, CsvQuotes) {
  EXPECT_THAT(Render({MeasuredRow()}, OutputFormat::kCsv), HasSubstr("\"says \"\"why\"\", and more\""));
}

TEST(Output, TableAndMarkdownShowSharesAndError) {
  for (const OutputFormat format : {OutputFormat::kTable, OutputFormat::kMarkdown}) {
    const std::string text = Render({MeasuredRow(), BareRow()}, format);
    EXPECT_LT(text.find("of FMA"), text.find("of read"));
    EXPECT_LT(text.find("50.0 %"), text.find("25.0 %"));
    EXPECT_NE(text.find("25.0 %"), std::string::npos);
    EXPECT_THAT(text, HasSubstr("2.0e-07"));
    EXPECT_THAT(text, HasSubstr("Some CPU"));
    EXPECT_THAT(text, HasSubstr("temperature unavailable"));
  }
}

TEST(ShellWord, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(ShellWord("/a/model-Q8_0.gguf"), "/a/model-Q8_0.gguf");
  EXPECT_EQ(ShellWord("/my models/a.gguf"), "'/my models/a.gguf'");
  EXPECT_EQ(ShellWord("it's $HOME"), "'it'\\''s $HOME'");
  EXPECT_EQ(ShellWord(""), "''");
}

TEST(Output, KnowsItsFormats) {
  for (const char* name : {"table", "markdown", "md", "csv", "json", "jsonl"})
    EXPECT_TRUE(OutputFormatFromName(name)) << name;
  EXPECT_FALSE(OutputFormatFromName("xml"));
}

}  // namespace
}  // namespace qwen3vl::bench
