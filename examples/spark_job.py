#!/usr/bin/env python3
"""Everybody's lists on Spark: users from a table of the cluster, lists into Parquet.

    spark-submit examples/spark_job.py shop.ancf customers.parquet lists.parquet

The Python of every worker needs ancf; PYSPARK_PYTHON says which one that is.
"""

import sys

from pyspark.sql import SparkSession

import ancf.spark


def main(model_file: str, customers: str, lists: str) -> int:
    spark = SparkSession.builder.appName("lists for everybody").getOrCreate()
    users = spark.read.parquet(customers).select("user_id").distinct()

    # Nothing has run yet: the frame is as lazy as any other, and can be joined and filtered.
    recommended = ancf.spark.recommend_all(model_file, users, N=20, on_unknown="skip")
    recommended.write.mode("overwrite").parquet(lists)

    written = spark.read.parquet(lists)
    print(f"{written.count()} recommendations for {written.select('user_id').distinct().count()} users in {lists}")
    spark.stop()
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
