<?php // by the environment
